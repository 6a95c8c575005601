"""The command line, and `train`."""

from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
main = import_module(f"{PACKAGE}.__main__").main
versions = import_module(f"{PACKAGE}.registry.versions")
workspace = import_module(f"{PACKAGE}.training.workspace")


def files(folder):
    """Return when each file below a folder was last written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


@pytest.mark.parametrize("name", ["", *sorted(main.commands)])
def test_help_says_what_a_command_does_and_does_nothing(name, command, project):
    before = files(project)
    texts = {command(*([name] if name else []), option) for option in ("--help", "-h")}

    assert len(texts) == 1
    assert texts.pop().startswith(f"Usage: main {name}".strip())
    assert files(project) == before


def test_an_unknown_command_is_named(command):
    assert "No such command 'rubbish'" in command("rubbish", status=2)


def test_training_again_on_the_same_state_makes_no_version(model, command):
    known = [version.number for version in versions.versions(model.name)]

    assert "already holds exactly this model" in command("train", model.name)
    assert [version.number for version in versions.versions(model.name)] == known


def test_of_two_trainings_at_once_one_is_refused(model, command):
    with workspace.training_lock():
        assert "error: another training is at work" in command("train", model.name, status=1)
