"""The GitHub Action and the GitLab job, played step by step in the environment their runners give."""

import json
import os
import re
import stat
import subprocess
import sys
import xml.etree.ElementTree as Xml
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from gate_runs import make_run, save

from evalkit.baseline import accept

ROOT = Path(__file__).parents[1]
GOOD, BAD = [1.0] * 40, [1.0] * 25 + [0.0] * 15
_GH = """#!{python}
import json, pathlib, sys
words = sys.argv[1:]
body = [pathlib.Path(word.partition("@")[2]).read_text() for word in words if word.startswith("body=@")]
with open({log!r}, "a") as stream:
    stream.write(json.dumps({{"words": words, "body": body}}) + "\\n")
if {refuses!r} and "--method" in words:
    sys.exit("HTTP 403: Resource not accessible by integration")
if "user" in words:
    sys.exit("HTTP 403") if not {login!r} else print({login!r})
elif "--jq" in words:
    print({existing!r}, end="")
"""
_PYTHON = """#!/bin/bash
printf '%s\\n' "$@" >> "{log}"
if [ "$2" = venv ]; then
  mkdir -p "$3/bin"
  cp "$0" "$3/bin/python"
  printf '#!/bin/bash\\nexec "{evalkit}" "$@"\\n' > "$3/bin/evalkit"
  chmod +x "$3/bin/evalkit"
fi
"""
"""Stands for python3: makes an environment in which evalkit is the one under test, and writes down what pip is told."""


@dataclass
class Runner:
    """GitHub's runner as far as a composite action can tell: its shells, variables, files per step and contexts."""

    folder: Path
    environ: Mapping[str, str]
    context: Mapping[str, str]
    existing_comment: str = ""
    login: str = ""
    refuses: bool = False
    """Whether the token may only read, as in a pull request from a fork."""
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""
    log: str = ""
    played: list[str] = field(default_factory=list)

    @property
    def action_path(self) -> Path:
        """Where the runner checked the action out; its name holds a blank."""
        return self.folder.parent / "_actions" / "some one" / "evalkit"

    def play(self, inputs: Mapping[str, str]) -> int:
        """Run the action's steps; returns the exit code of the first that failed, 0 if none did."""
        action = yaml.safe_load((self.action_path / "action.yml").read_text(encoding="utf-8"))
        assert action["runs"]["using"] == "composite"
        assert set(inputs) <= set(action["inputs"])
        given = {name: _default(one, self.context) for name, one in action["inputs"].items()} | dict(inputs)
        values = {f"inputs.{name}": value for name, value in given.items()} | dict(self.context)
        failed, steps = 0, {}
        for number, step in enumerate(action["runs"]["steps"]):
            if not _holds(str(step.get("if", "success()")), values, failed=bool(failed)):
                continue
            self.played.append(step["name"])
            code, found = self._step(step, values, number)
            steps |= {f"steps.{step.get('id', '')}.outputs.{name}": value for name, value in found.items()}
            failed = failed or code
        self.outputs = {name: _filled(one["value"], steps) for name, one in action["outputs"].items()}
        return failed

    def _step(self, step: Mapping[str, Any], values: Mapping[str, str], number: int) -> tuple[int, dict[str, str]]:
        temp = self.folder.parent / "_temp"
        names = ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STATE")
        files = {name: temp / "_runner_file_commands" / f"{name}_{number}" for name in names}
        temp.joinpath("_runner_file_commands").mkdir(parents=True, exist_ok=True)
        for path in files.values():
            path.touch()
        script = temp / f"{number}.sh"
        script.write_text(step["run"])
        assert "${{" not in step["run"], "an expression inside a script is an injection"
        done = subprocess.run(
            [*SHELLS[step["shell"]], str(script)],
            env={
                **self.environ,
                **DEFAULTS,
                **{name: str(path) for name, path in files.items()},
                "RUNNER_TEMP": str(temp),
                "GITHUB_WORKSPACE": str(self.folder),
                "GITHUB_ACTION_PATH": str(self.action_path),
                **{name: _filled(value, values) for name, value in step.get("env", {}).items()},
            },
            cwd=self.folder / _filled(step.get("working-directory", "."), values),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        self.log += done.stdout + done.stderr
        self.summary += files["GITHUB_STEP_SUMMARY"].read_text()
        assert not files["GITHUB_ENV"].read_text() + files["GITHUB_PATH"].read_text(), (
            "the job's own steps see no change"
        )
        return done.returncode, dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())


SHELLS = {"bash": ("bash", "--noprofile", "--norc", "-e", "-o", "pipefail")}
"""How the runner starts each shell that a step declares (workflow syntax, `jobs.<job_id>.steps[*].shell`)."""
DEFAULTS = {"CI": "true", "GITHUB_ACTIONS": "true", "RUNNER_OS": "Linux", "LANG": "C.UTF-8"}


def _default(one: Mapping[str, Any], context: Mapping[str, str]) -> str:
    value = one.get("default", "")
    assert isinstance(value, str), "the runner knows only text: quote it"
    return _filled(value, context)


def _filled(text: str, values: Mapping[str, str]) -> str:
    """Expressions replaced; what does not exist is empty, as the runner has it."""
    return re.sub(r"\$\{\{ *([\w.-]+) *\}\}", lambda match: values.get(match[1], ""), text)


def _holds(condition: str, values: Mapping[str, str], *, failed: bool) -> bool:
    """The conditions this action uses: comparisons and status functions joined by "&&"; success() if none is named."""
    parts = [part.strip() for part in condition.split("&&")]
    if failed and "always()" not in parts:
        return False
    for part in parts:
        if part in ("always()", "success()"):
            continue
        name, equals, wanted = part.partition("==")
        assert equals, f"this test cannot play {part!r}"
        # The runner compares text without regard to case.
        if values.get(name.strip(), "").lower() != wanted.strip().strip("'").lower():
            return False
    return True


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    """A runner whose workspace holds a baseline, a good and a bad run, and whose `gh` writes down what it is told."""
    work = tmp_path / "work"
    reports = work / "project" / "reports"
    save(make_run(GOOD, name="good", response="right"), reports)
    save(make_run(BAD, name="bad", response="::error::pwned `x` <b>"), reports)
    accept(make_run(GOOD, name="base"), reports / "baseline")
    tools = tmp_path / "bin"
    tools.mkdir()
    path = f"{tools}:{Path(sys.executable).parent}:/usr/bin:/bin"
    context = {
        "github.event_name": "pull_request",
        "github.repository": "someone/project",
        "github.event.pull_request.number": "7",
        "github.token": "secret",
    }
    found = Runner(work, {"PATH": path, "HOME": str(tmp_path)}, context)
    found.action_path.mkdir(parents=True)
    (found.action_path / "action.yml").write_text((ROOT / "action.yml").read_text(encoding="utf-8"), encoding="utf-8")
    return found


def _make_python(runner: Runner) -> Path:
    """A `python3` in place of the machine's; returns what it was told."""
    log = runner.folder.parent / "python.log"
    python = runner.folder.parent / "bin" / "python3"
    python.write_text(_PYTHON.format(log=log, evalkit=Path(sys.executable).parent / "evalkit"))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return log


def _make_gh(runner: Runner) -> Path:
    log = runner.folder / "gh.log"
    gh = runner.folder.parent / "bin" / "gh"
    gh.write_text(
        _GH.format(
            python=sys.executable, log=str(log), existing=runner.existing_comment, login=runner.login,
            refuses=runner.refuses,
        )
    )  # fmt: skip
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    return log


def _calls(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_the_action_fails_a_worse_candidate_and_reports_it_everywhere(runner: Runner) -> None:
    log = _make_gh(runner)
    inputs = {"candidate": "bad", "install": "false", "comment": "true", "working-directory": "project"}
    assert runner.play(inputs) == 1, runner.log
    assert runner.outputs == {"verdict": "FAIL", "exit-code": "1"}
    assert "::error title=evalkit gate FAIL" in runner.log
    assert not any(line.startswith("::error::pwned") for line in runner.log.splitlines())
    assert "[!CAUTION]" in runner.summary
    Xml.parse(runner.folder / "project" / "evalkit-junit.xml")
    asked, posted = _calls(log)[-2:]
    assert "repos/someone/project/issues/7/comments" in asked["words"]
    assert posted["words"][:4] == ["api", "--silent", "--method", "POST"]
    assert posted["body"][0].startswith("<!-- evalkit-gate -->")


def test_the_action_updates_its_one_comment(runner: Runner) -> None:
    runner.existing_comment = "4242\n5000\n"
    log = _make_gh(runner)
    inputs = {"candidate": "good", "install": "false", "comment": "true", "working-directory": "project"}
    assert runner.play(inputs) == 0, runner.log
    assert runner.outputs["verdict"] == "PASS"
    assert _calls(log)[-1]["words"][3:5] == ["PATCH", "repos/someone/project/issues/comments/4242"]


def test_only_a_comment_of_its_own_is_looked_for(runner: Runner) -> None:
    runner.login = "octocat"
    log = _make_gh(runner)
    inputs = {"candidate": "good", "install": "false", "comment": "true", "working-directory": "project"}
    assert runner.play(inputs) == 0, runner.log
    query = next(call["words"][-1] for call in _calls(log) if "--paginate" in call["words"])
    assert '.user.type == "Bot" or .user.login == "octocat"' in query
    assert 'startswith("<!-- evalkit-gate -->")' in query


@pytest.mark.parametrize(("candidate", "code"), [("good", 0), ("bad", 1)])
def test_a_comment_that_may_not_be_written_changes_no_verdict(runner: Runner, candidate: str, code: int) -> None:
    runner.refuses = True
    _make_gh(runner)
    inputs = {"candidate": candidate, "install": "false", "comment": "true", "working-directory": "project"}
    assert runner.play(inputs) == code, runner.log
    assert "::warning title=evalkit gate::the comment could not be written" in runner.log


def test_a_summary_of_an_earlier_run_is_never_posted(runner: Runner) -> None:
    log = _make_gh(runner)
    (runner.folder / "project" / "evalkit-summary.md").write_text("<!-- evalkit-gate --> old news")
    inputs = {"candidate": "no-such-run", "install": "false", "comment": "true", "working-directory": "project"}
    assert runner.play(inputs) == 2
    assert not log.exists()


def test_the_action_installs_itself_apart_from_the_jobs_python(runner: Runner) -> None:
    log = _make_python(runner)
    assert runner.play({"candidate": "good", "working-directory": "project"}) == 0, runner.log
    told = log.read_text().splitlines()
    environment = str(runner.folder.parent / "_temp" / "evalkit-gate")
    assert told[:3] == ["-m", "venv", environment]
    assert told[-1] == str(runner.action_path)
    assert "install" in told
    assert runner.played == ["Install", "Gate"]


def test_a_failed_installation_fails_the_job_without_a_gate(runner: Runner) -> None:
    python = runner.folder.parent / "bin" / "python3"
    python.write_text("#!/bin/bash\nexit 9\n")
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    assert runner.play({"candidate": "good", "working-directory": "project"}) == 9
    assert runner.played == ["Install"]
    assert runner.outputs == {"verdict": "", "exit-code": ""}


def test_the_action_passes_its_inputs_on_and_none_of_them_is_a_command(runner: Runner) -> None:
    (runner.folder / "project" / "rules.yaml").write_text("rules:\n- {floor: 1.5}\n")
    inputs = {
        "candidate": "good", "install": "false", "working-directory": "project", "rules": "rules.yaml",
        "baseline": "reports/good reports/baseline", "strict": "true", "arguments": "--non-inferiority 2",
    }  # fmt: skip
    assert runner.play(inputs) == 1, runner.log
    hostile = {"candidate": "$(touch pwned) `touch pwned` ; touch pwned *", "install": "false"}
    assert runner.play({**hostile, "working-directory": "project"}) == 2
    assert not list(runner.folder.rglob("pwned"))


def test_the_action_outside_a_pull_request_comments_nothing(runner: Runner) -> None:
    log = _make_gh(runner)
    runner.context = {**runner.context, "github.event_name": "push"}
    runner.play({"candidate": "good", "install": "false", "comment": "true", "working-directory": "project"})
    assert not log.exists()


def test_without_a_baseline_the_action_ends_with_3(runner: Runner) -> None:
    inputs = {"candidate": "good", "install": "false", "working-directory": "project", "baseline": "nowhere"}
    assert runner.play(inputs) == 3


@pytest.mark.parametrize(("strict", "code"), [("false", 0), ("true", 4)])
def test_an_inconclusive_gate_stops_the_job_only_where_it_is_strict(runner: Runner, strict: str, code: int) -> None:
    save(make_run([0.0, 0.0, *GOOD[2:]], name="unsure"), runner.folder / "project" / "reports")
    inputs = {"candidate": "unsure", "install": "false", "working-directory": "project", "strict": strict}
    assert runner.play(inputs) == code, runner.log
    assert runner.outputs == {"verdict": "INCONCLUSIVE", "exit-code": str(code)}
    assert "::warning title=evalkit gate INCONCLUSIVE" in runner.log


def test_every_step_declares_its_shell_and_every_key_is_one_that_github_knows() -> None:
    """Keys from GitHub's metadata syntax reference for composite actions."""
    action = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
    assert set(action) <= {"name", "author", "description", "inputs", "outputs", "runs", "branding"}
    for one in action["inputs"].values():
        assert set(one) <= {"description", "required", "default", "deprecationMessage"}
        assert one["description"]
    for one in action["outputs"].values():
        assert set(one) == {"description", "value"}
    for step in action["runs"]["steps"]:
        assert set(step) <= {"name", "id", "if", "shell", "run", "env", "working-directory"}
        assert step["shell"] in SHELLS
    used = set(re.findall(r"inputs\.([a-z-]+)", (ROOT / "action.yml").read_text(encoding="utf-8")))
    assert used == set(action["inputs"])


def _blocks(language: str) -> list[str]:
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def test_the_gitlab_job_of_the_manual_runs_and_leaves_its_artifacts(tmp_path: Path) -> None:
    job = next(found["gate"] for block in _blocks("yaml") if "gate" in (found := yaml.safe_load(block)))
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **job["variables"]}
    environ |= {"MODEL": "fake/hash", "CI": "true", "GITLAB_CI": "true"}
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"):
        environ.pop(name, None)

    def run(*lines: str) -> int:
        script = "set -eo pipefail\n" + "\n".join(lines)
        return subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environ, capture_output=True, check=False
        ).returncode

    assert run(*job["script"]) == 3
    assert run("evalkit baseline accept candidate", *job["script"]) == 0
    reports = job["artifacts"]["reports"]
    Xml.parse(tmp_path / reports["junit"])
    assert (tmp_path / reports["metrics"]).read_text().endswith("# EOF\n")
    assert all((tmp_path / path).is_file() for path in job["artifacts"]["paths"])
    assert job["allow_failure"]["exit_codes"] == [4]


def test_the_rules_of_the_manual_are_rules(tmp_path: Path) -> None:
    from evalkit.gate import read_rules

    block = next(block for block in _blocks("yaml") if "rules:" in block.split("jobs:")[0] and "mmlu_mini" in block)
    (tmp_path / "rules.yaml").write_text(block)
    assert [rule.task for rule in read_rules(tmp_path / "rules.yaml")] == ["mmlu_mini", "mmlu_mini", "*"]


def test_the_workflow_of_the_manual_names_inputs_that_the_action_has() -> None:
    workflow = next(found for block in _blocks("yaml") if "jobs" in (found := yaml.safe_load(block)))
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    used = next(step["with"] for step in workflow["jobs"]["gate"]["steps"] if "evalkit@" in step.get("uses", ""))
    assert set(used) <= set(inputs)
