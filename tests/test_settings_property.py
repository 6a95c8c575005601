"""What holds of everything that users write and clients send, tried on random examples in one project.

Whatever stands in params.yaml and data/catalog.yaml, it is valid or refused in one line, never a traceback. Whatever
rows a request has, the short way reads them as the ordinary one does, or leaves them to it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import Project, generate

OWN = Path(__file__).parent / "own"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    scratch = tmp_path_factory.mktemp("properties")
    return Project(generate(scratch / "work", maturity_level="pipeline-centric"), scratch / "environment")


@pytest.mark.parametrize(("script", "examples"), [("settings.py", "150"), ("rows.py", "500")])
@pytest.mark.xdist_group("properties")
def test_random_examples_hold(project: Project, script: str, examples: str) -> None:
    hypothesis = ["--with", "hypothesis>=6.150,<7"]
    done = project.run("uv", "run", *hypothesis, "python", str(OWN / script), str(project.folder), examples)

    assert done.returncode == 0, done.stderr[-3000:]
