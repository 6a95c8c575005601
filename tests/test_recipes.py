"""The recipes of a generated project: each is run by a test, and none lets a shell execute an argument."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from projects import HIGHEST, generate, recipes_run

PAYLOADS = [
    "a$(touch PWNED)",
    "`touch PWNED`",
    "; touch PWNED",
    "' ; touch PWNED ; '",
    "a\ntouch PWNED",
    "| touch PWNED",
]
PAYLOADS += [f"x={payload}" for payload in PAYLOADS]  # as an answer
STUB = """#!/bin/sh
printf '%s\\n' "$@" >> ARGUMENTS
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("recipes"), maturity_level=HIGHEST)


def just(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("just")), *arguments]
    found = os.environ | environment
    return subprocess.run(command, cwd=project, env=found, capture_output=True, text=True, timeout=60)


def recipes(project: Path) -> dict[str, list[dict]]:
    """The public recipes with their parameters."""
    found = json.loads(just(project, "--dump", "--dump-format", "json").stdout)["recipes"]
    return {name: recipe["parameters"] for name, recipe in found.items() if not recipe["private"]}


def test_every_recipe_is_run_by_a_test(project):
    names = set(just(project, "--summary").stdout.split())

    assert names >= {"check", "data", "explore", "history", "lineage", "restore", "clean", "evaluate", "up"}
    assert names <= recipes_run()


@pytest.mark.skipif(sys.platform == "win32", reason="the shell is another one there")
def test_an_argument_is_never_executed_by_a_shell(project, tmp_path):
    """`uv` and `uvx` only note what they are given: what is left is the recipes' own quoting."""
    for name in ("uv", "uvx"):
        (tmp_path / name).write_text(STUB, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    noted, wrong = project / "ARGUMENTS", []
    taking = {name: parameters for name, parameters in recipes(project).items() if parameters}
    assert {"serve", "up", "upgrade", "preview", "retrain", "restore", "rollback"} <= set(taking)
    for name, parameters in taking.items():
        for payload in PAYLOADS:
            for place in range(len(parameters)):
                noted.write_text("", encoding="utf-8")
                before = ["model-centric" if each["name"] == "LEVEL" else "" for each in parameters[:place]]
                after = ["x" for each in parameters[place + 1 :] if each["default"] is None and each["kind"] != "star"]
                done = just(project, name, *before, payload, *after, PATH=path)
                given = noted.read_text(encoding="utf-8")
                if (project / "PWNED").exists():
                    (project / "PWNED").unlink()
                    wrong.append((name, parameters[place]["name"], payload))
                elif done.returncode == 0 and f"{payload}\n" not in _as_given(given, parameters[place], payload):
                    wrong.append((name, parameters[place]["name"], payload, given))
    assert wrong == []


def _as_given(noted: str, parameter: dict, payload: str) -> str:
    """What was noted of a parameter, whose words arrive one by one if it takes several."""
    return noted.replace("\n".join(payload.split(" ")), payload) if parameter["kind"] == "star" else noted


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a shell script")
def test_recipes_of_several_words_pass_each_on_and_options_too(project, tmp_path):
    (tmp_path / "uv").write_text(STUB, encoding="utf-8")
    (tmp_path / "uv").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    noted = project / "ARGUMENTS"
    taking = {name for name, given in recipes(project).items() if [each["kind"] for each in given] == ["star"]}
    assert taking >= {"data", "train", "evaluate", "rollback", "retrain", "watch", "history"}
    for name in taking:
        for words in ([], ["--all", "one", "it's"]):
            noted.write_text("", encoding="utf-8")
            done = just(project, name, *words, PATH=path)
            assert noted.read_text(encoding="utf-8").splitlines()[-1 - len(words) :] == [name, *words]
            assert "''" not in done.stderr.replace("'\\''", "")  # the echoed command
    noted.unlink()


@pytest.mark.skipif(sys.platform == "win32", reason="the stub is a shell script")
def test_answers_of_an_upgrade_may_have_blanks_and_quotes(project, tmp_path):
    (tmp_path / "uvx").write_text(STUB, encoding="utf-8")
    (tmp_path / "uvx").chmod(0o755)
    noted = project / "ARGUMENTS"
    noted.write_text("", encoding="utf-8")
    answers = ["description=Two words, it's fine", "project_name=A b", "ci=none"]
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    for first in (["model-centric"], []):
        done = just(project, "upgrade", *first, *answers, PATH=path)
        assert done.returncode == 0, done.stderr
    lines = noted.read_text(encoding="utf-8").splitlines()
    noted.unlink()

    assert [lines.count(answer) for answer in answers] == [2, 2, 2]
