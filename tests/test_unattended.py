"""From new rows to a served model with nobody at the keyboard: the schedule for real, but every minute."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from projects import HIGHEST, Project, ask, eventually, free_port, generate, until

pytestmark = [
    pytest.mark.xdist_group("unattended"),
    pytest.mark.skipif(sys.platform == "win32", reason="ends a group of processes by a signal"),
]


def test_between_new_rows_and_the_model_that_has_learned_from_them_no_command_is_run(tmp_path: Path) -> None:
    project = Project(generate(tmp_path / "work", maturity_level=HIGHEST), tmp_path / "environment")
    sample = project.folder / "data" / "sample" / "tumours.csv"
    head, *rows = sample.read_text(encoding="utf-8").splitlines(keepends=True)
    sample.write_text("".join([head, *rows[: len(rows) // 2]]), encoding="utf-8")
    project.just("data")
    project.commit("What there is")
    port, prefect = free_port(), free_port()
    places = {"PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api", "SERVE_POLL_SECONDS": "0.5"}

    with project.server("uv", "run", "just", "up", str(port), RETRAIN_CRON="* * * * *", **places) as process:
        eventually(port, "/health", process)
        until(lambda: served(port) == "1")
        by_hand = counted(project)
        sample.write_text("".join([head, *rows]), encoding="utf-8")
        until(lambda: served(port) == "2")
        assert by_hand == []
    assert "version 2 after 1, by" in (history := project.just("history"))
    assert "schedule; better than version 1" in history or "schedule; not worse than version 1" in history


def counted(project: Project) -> list[tuple[str, ...]]:
    """The commands that are run in the project from now on."""
    commands, run = [], project.run

    def noted(*command: str, **environment: str):
        commands.append(command)
        return run(*command, **environment)

    project.run = noted
    return commands


def served(port: int) -> str | None:
    """The version that answers."""
    [model] = ask(port, "/version")[1].values()
    return model["version"]
