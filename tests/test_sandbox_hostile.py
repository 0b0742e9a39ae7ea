"""The hostile suite, attack by attack, in each tier that this machine can have."""

import sys
from functools import cache

import pytest

from evalkit.sandbox import Sandbox, protections, selftest
from evalkit.sandbox.hostile import AttackResult, suite, verdicts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")

NAMES = [*(attack.name for attack in suite()), "traces outside"]


@cache
def results(namespaces: bool) -> dict[str, AttackResult]:
    if namespaces and not protections().namespaces:
        pytest.skip(f"no namespaces here: {protections()}")
    return {result.name: result for result in selftest(namespaces=namespaces)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("namespaces", [True, False], ids=["full", "base"])
def test_the_protection_holds(name: str, namespaces: bool) -> None:
    result = results(namespaces)[name]
    assert result.held, result.detail


def test_every_attack_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)


def test_the_hunt_finds_what_can_be_found() -> None:
    hidden = "0123456789abcdef" * 2
    search = f"""
def outer():
    proof = "{hidden[:16]}" + "{hidden[:16]}".strip()
    inner()

def inner():
    assert any("{hidden[:16]}" * 2 in text for text in texts())

outer()
"""
    with Sandbox(workers=1) as sandbox:
        assert sandbox.run(verdicts.HUNT + search).verdict == "passed"
