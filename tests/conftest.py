"""Projects made by the template, one for each level and problem that a test asks for, with an environment per level."""

from __future__ import annotations

from pathlib import Path

import pytest
from projects import LEVELS, PROBLEMS, Project, generate


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests on one project run in one process, in their order."""
    for item in items:
        chosen = getattr(item, "callspec", None)
        if chosen and {"level", "problem"} <= set(chosen.params) and "project" in item.fixturenames:
            item.add_marker(pytest.mark.xdist_group(f"{chosen.params['level']} {chosen.params['problem']}"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name."""
    return tmp_path_factory.mktemp("made by tests")


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=PROBLEMS)
def problem(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def projects(home: Path) -> dict[tuple[str, str], Project]:
    """The projects made so far in this process."""
    return {}


@pytest.fixture
def project(home: Path, projects: dict, level: str, problem: str) -> Project:
    """A project of this level and problem, made once and used by all its tests in turn."""
    if (level, problem) not in projects:
        folder = home / f"{level} {problem}"
        made = generate(folder, maturity_level=level, problem=problem)
        projects[level, problem] = Project(made, environment=home / f"environment {level}")
    return projects[level, problem]
