"""Whatever stands in params.yaml and data/catalog.yaml, it is valid or refused in one line, never a traceback."""

from __future__ import annotations

from pathlib import Path

from projects import Project, generate

SCRIPT = Path(__file__).parent / "own" / "settings.py"
EXAMPLES = "150"


def test_random_settings_are_valid_or_refused_in_one_line(tmp_path: Path) -> None:
    project = Project(generate(tmp_path / "work", maturity_level="pipeline-centric"), tmp_path / "environment")
    hypothesis = ["--with", "hypothesis>=6.150,<7"]
    done = project.run("uv", "run", *hypothesis, "python", str(SCRIPT), str(project.folder), EXAMPLES)

    assert done.returncode == 0, done.stderr[-3000:]
