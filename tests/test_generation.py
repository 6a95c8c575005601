"""What the template writes, before anything of it is run."""

from __future__ import annotations

import ast
import difflib
import itertools
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from projects import HIGHEST, LEVELS, LOWEST, PROBLEMS, QUESTIONS, TREE, cookiecutter, files, generate, template

STATE = ".mlops-ladder.json"
MOVED = "src/my_ml_project/_moved.py"  # the module names of release 0.2: release 1.0 removes it
LOWEST_FILES = {
    *("README.md", "pyproject.toml", "justfile", ".gitignore", ".pre-commit-config.yaml", STATE, MOVED),
    *(".github/workflows/check.yml", "data/catalog.yaml", "data/sample/tumours.csv", "notebooks/explore.py"),
    *(f"src/my_ml_project/{name}.py" for name in ("__init__", "__main__", "data")),
    *(f"src/my_ml_project/datasets/{name}.py" for name in ("__init__", "catalog", "checks", "readers", "report")),
    *(f"src/my_ml_project/datasets/{name}.py" for name in ("databases", "places", "refresh", "snapshots")),
    *(
        f"src/my_ml_project/datasets/{name}.py"
        for name in ("charts", "draft", "history", "page", "personal", "profile", "relations", "skill")
    ),
    *(f"src/my_ml_project/datasets/{name}" for name in ("page.html", "suspects.py", "table.py")),
    *("tests/datasets/test_catalog.py", "tests/datasets/test_checks.py", "tests/test_data.py"),
}
BRACES_OF_ITS_OWN = {"justfile", "model.just", "pipeline.just", "page.html"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, bytes]]:
    """The files of a project of each level and problem."""
    home = tmp_path_factory.mktemp("made")
    combined = [(level, problem) for level in LEVELS for problem in PROBLEMS]
    return {
        (level, problem): files(generate(home / level / problem, maturity_level=level, problem=problem))
        for level, problem in combined
    }


def test_the_lowest_level_is_exactly_these_files(made):
    assert set(made[LOWEST, "classification"]) == LOWEST_FILES
    assert len(LOWEST_FILES - {MOVED}) <= 36


def test_the_lowest_level_knows_no_tool_of_a_higher_one(made):
    shared = {"README.md", ".gitignore", STATE}  # these say what there is on the way up
    for name, content in made[LOWEST, "classification"].items():
        text = content.decode().lower()
        assert name in shared or not [tool for tool in ("mlflow", "dvc", "prefect", "docker") if tool in text], name


@pytest.mark.parametrize("problem", PROBLEMS)
def test_a_level_only_adds_files_and_changes_only_its_dependencies_and_the_record(made, problem):
    for lower, higher in itertools.pairwise(LEVELS):
        below, above = made[lower, problem], made[higher, problem]
        assert set(below) < set(above)
        assert {name for name in below if below[name] != above[name]} == {"pyproject.toml", STATE}
        changes = difflib.ndiff(*(each["pyproject.toml"].decode().splitlines() for each in (below, above)))
        assert not [line for line in changes if line.startswith("- ")]


def test_nothing_is_left_unrendered(made):
    for contents in made.values():
        for name, content in contents.items():
            assert "cookiecutter" not in name
            if name == STATE or b"\0" in content:
                continue
            text = content.decode()
            assert "{{ cookiecutter" not in text, name
            assert "# {%" not in text, name
            if "workflows" not in name and Path(name).name not in BRACES_OF_ITS_OWN:
                assert "{{" not in text, name


def test_every_source_is_valid_unrendered():
    for path in TREE.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        ast.parse(source)
        assert "{%" not in source, path
    tomllib.loads((TREE / "pyproject.toml").read_text(encoding="utf-8"))


def test_no_project_has_an_absolute_path_or_an_empty_file(made):
    for contents in made.values():
        for name, content in contents.items():
            if name != STATE:
                assert str(template()).encode() not in content, name
            assert content.strip() or name.endswith(".gitkeep"), name


def test_at_most_six_questions_and_the_lowest_level_by_default():
    assert len([key for key in QUESTIONS if not key.startswith("_")]) <= 6
    assert QUESTIONS["maturity_level"][0] == "data-centric"


@pytest.mark.parametrize(
    "answers",
    [
        {"project_name": "ml"},
        {"project_name": "A project that has a rather long name", "project_slug": "a-project-with-a-long-name-30c"},
        {"project_name": """The "best" \\ 'plan' d'Ålesund 日本 🙂""", "project_slug": "best-plan"},
        {"description": """It's "quoted" \\ and \\n ünïcode 🙂 <b>&amp;</b>'"""},
    ],
    ids=["two letters", "thirty letters", "odd name", "odd description"],
)
def test_names_and_texts_of_all_kinds_give_a_sound_project(tmp_path, answers):
    project = generate(tmp_path, maturity_level=HIGHEST, **answers)
    described = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert described["description"] == answers.get("description", QUESTIONS["description"])
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command], cwd=project, capture_output=True, text=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"project_slug": "Bad Slug"}, "project_slug"),
        ({"project_slug": "1st"}, "project_slug"),
        ({"project_slug": "../up"}, "project_slug"),
        ({"project_slug": "pandas"}, "pandas"),
        ({"project_slug": "class"}, "class"),
        ({"project_slug": "json"}, "json"),
        ({"description": "two\nlines"}, "description"),
        ({"description": "three ''' quotes"}, "description"),
    ],
)
def test_names_that_cannot_work_are_refused_in_one_line(tmp_path, answers, words):
    done = cookiecutter(tmp_path, **answers)

    assert done.returncode != 0
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.strip()]) <= 3, done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("ci", "there"), [("github", ".github"), ("gitlab", ".gitlab-ci.yml"), ("none", None)])
def test_only_the_chosen_provider_has_a_file(tmp_path, ci, there):
    project = generate(tmp_path, ci=ci)

    assert [name for name in (".github", ".gitlab-ci.yml") if (project / name).exists()] == ([there] if there else [])


def test_a_fresh_project_is_a_repository_with_one_clean_commit(tmp_path):
    project = generate(tmp_path)

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout

    assert len(git("log", "--oneline").splitlines()) == 1
    assert git("status", "--porcelain") == ""


def test_the_record_says_what_the_project_was_made_from(tmp_path):
    record = json.loads((generate(tmp_path) / STATE).read_text(encoding="utf-8"))

    assert record["default_context"]["maturity_level"] == LOWEST
    assert record["template"]["version"] == QUESTIONS["_version"]
