"""Runs in, TensorBoard event files out: one folder for each Run, every number a scalar, losses by training step.

The files are written without TensorBoard. Their format: records of length, masked CRC-32C of the length, content and
its masked CRC-32C (TensorFlow, `tensorflow/core/lib/io/record_writer.h`), each content an `Event` message (TensorFlow,
`tensorflow/core/util/event.proto` and `framework/summary.proto`).
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from evalkit.record import Run
from evalkit.report.exporters.numbers import clean, last_step, losses, numbers

_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_FILE_NAME = "events.out.tfevents.{seconds}.evalkit"


def write_events(runs: Sequence[Run], folder: Path) -> list[Path]:
    """Write `folder`/<run id>/events.out.tfevents.…; the file of a Run exported before is replaced.

    Returns the files. Raises OSError where the disk refuses.
    """
    return [_write(run, folder / clean(run.id)) for run in runs]


def _write(run: Run, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    seconds = _seconds(run)
    path = folder / _FILE_NAME.format(seconds=f"{int(seconds):010d}")
    temporary = path.with_name(f".{path.name}")
    temporary.write_bytes(b"".join(map(_record, _events(run, seconds))))
    for before in folder.glob(_FILE_NAME.format(seconds="*")):
        before.unlink()
    return temporary.replace(path)


def _seconds(run: Run) -> float:
    stated = run.manifest.finished or run.manifest.started
    try:
        return datetime.fromisoformat(stated).timestamp()
    except ValueError:
        return 0.0


def _events(run: Run, seconds: float) -> Iterator[bytes]:
    yield _double(1, seconds) + _bytes(3, b"brain.Event:2")
    for step, values in losses(run):
        yield _event(seconds, step, values)
    yield _event(seconds, last_step(run), numbers(run))


def _event(seconds: float, step: int, values: Mapping[str, float]) -> bytes:
    summary = b"".join(_bytes(1, _bytes(1, name.encode()) + _float(2, value)) for name, value in values.items())
    return _double(1, seconds) + _integer(2, step) + _bytes(5, summary)


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _masked(length)) + content + struct.pack("<I", _masked(content))


def _masked(content: bytes) -> int:
    checksum = crc32c(content)
    return ((checksum >> 15 | checksum << 17) + _MASK) & 0xFFFFFFFF


def crc32c(content: bytes) -> int:
    """CRC-32C (Castagnoli), as RFC 3720, section 12.1 and appendix B.4 have it."""
    table = _table()
    checksum = 0xFFFFFFFF
    for byte in content:
        checksum = table[(checksum ^ byte) & 0xFF] ^ checksum >> 8
    return checksum ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    return tuple(_shifted(byte) for byte in range(256))


def _shifted(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


# Fields of a protocol buffer: the key is the field's number and how its value is written.


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _float(number: int, value: float) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<f", value)


def _integer(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _bytes(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
