"""Which answers make a project, which are refused before one is made, and what the files of a project follow from."""

from __future__ import annotations

import ast
import graphlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from upgrading import (
    CLEAN,
    CONFLICTS,
    HERE,
    REFUSED,
    ROOT,
    STATE,
    Lab,
    commit,
    edit_params,
    git,
    ordinary_edits,
    snapshot,
    write,
)

sys.path.insert(0, str(HERE / "hooks"))
from keep import digest, list_files, select_files
from render import render


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.mark.parametrize(
    ("answers", "says"),
    [
        ({"project_slug": "Churn"}, "project_slug 'Churn'"),
        ({"project_slug": "1churn"}, "project_slug '1churn'"),
        ({"project_slug": "churn model"}, "project_slug"),
        ({"project_slug": "../churn"}, "project_slug"),
        ({"project_slug": "churn-"}, "project_slug"),
        ({"project_slug": "c" * 51}, "project_slug"),
        ({"project_slug": "class"}, "the package 'class'"),
        ({"project_slug": "json"}, "the package 'json'"),
        ({"project_slug": "pandas"}, "the package 'pandas'"),
        ({"project_slug": "sklearn"}, "the package 'sklearn'"),
        ({"project_slug": "tests"}, "the package 'tests'"),
        ({"project_name": " ", "project_slug": "churn"}, "project_name is empty"),
        ({"description": "one\ntwo"}, "description has a line break"),
        ({"description": "a\x07bell"}, "description has a line break"),
        ({"description": "it's '''three'''"}, "may not contain"),
        ({"project_name": "a\tb", "project_slug": "churn"}, "project_name has a line break"),
        ({"project_name": "# {% if 1 %}", "project_slug": "churn"}, "'# {% if 1 %}' may not contain"),
        ({"description": "a {% raw %} b"}, "may not contain"),
        ({"description": "a {{ b"}, "'a {{ b' may not contain"),
        ({"_also": "forecasting, dogs"}, "'dogs' in _also is no problem: choose among classification, forecasting, "),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_answers_that_are_refused(lab, tmp_path, answers, says):
    done = lab.cookiecutter(tmp_path, lab.template(1), *[f"{key}={value}" for key, value in answers.items()])
    assert done.returncode == REFUSED
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.iterdir())


def test_an_empty_folder_name_does_not_mean_the_folder_one_stands_in(lab, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    done = lab.cookiecutter(tmp_path, lab.template(1), "-f", "project_slug=")
    assert done.returncode == REFUSED
    assert "project_slug is empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("typed", ["{{ 7 * 7 }}", "a {% raw %} b", "{# hm #}"])
def test_braces_typed_at_the_prompt_are_refused(lab, tmp_path, typed):
    command = [sys.executable, "-m", "cookiecutter", str(lab.template(1))]
    environment = os.environ | {"PWD": str(tmp_path)}
    done = subprocess.run(
        command, cwd=tmp_path, input=f"{typed}\nchurn\n" + "\n" * 9, capture_output=True, text=True, env=environment
    )
    assert done.returncode == REFUSED, done.stdout + done.stderr
    assert "may not contain" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_refused_run_leaves_nothing_in_the_temporary_folder_but_cookiecutter_s_own_script(lab, tmp_path):
    (tmp_path / "tmp").mkdir()
    done = lab.cookiecutter(tmp_path, lab.template(1), "project_slug=pandas", TMPDIR=str(tmp_path / "tmp"))
    assert done.returncode == REFUSED
    assert [path.suffix for path in (tmp_path / "tmp").iterdir()] == [".py"]


@pytest.mark.parametrize(
    "name", ['a "b" c', "a \\ b", "it's", "Ünï 日本 🚲", "a & <b>", "# hash", "a: b", "x" * 90, "a\u00a0b 👩\u200d🔬"]
)
def test_names_that_work(lab, tmp_path, name):
    done = lab.cookiecutter(
        tmp_path, lab.template(1), f"project_name={name}", "project_slug=churn", f"description={name}"
    )
    assert done.returncode == CLEAN, done.stdout + done.stderr
    assert name in (tmp_path / "churn/probe/name.txt").read_text("utf-8")
    assert json.loads((tmp_path / "churn" / STATE).read_text("utf-8"))["default_context"]["project_name"] == name


def test_a_fresh_project_is_one_commit(lab, tmp_path):
    done = lab.cookiecutter(
        tmp_path, lab.template(1), "project_slug=churn", GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull
    )
    assert done.returncode == CLEAN, done.stderr
    project = tmp_path / "churn"
    assert git(project, "log", "--format=%s") == "Start from mlops-ladder 0.1.0, data-centric"
    assert not git(project, "status", "--porcelain", "--ignored")
    assert "cd churn" in done.stdout


def test_inside_another_repository_it_is_not_committed_and_says_so(lab, tmp_path):
    git(tmp_path, "init", "-q", "-b", "main")
    done = lab.cookiecutter(tmp_path, lab.template(1), "project_slug=churn")
    assert done.returncode == CLEAN
    assert "inside the repository" in done.stdout
    assert not (tmp_path / "churn/.git").exists()


def test_without_git_it_is_made_all_the_same_and_says_so(lab, tmp_path):
    done = lab.cookiecutter(tmp_path, lab.template(1), "project_slug=churn", PATH=str(Path(sys.executable).parent))
    assert done.returncode == CLEAN, done.stdout + done.stderr
    assert "git is not installed" in done.stdout
    assert (tmp_path / "churn" / STATE).exists()


@pytest.mark.parametrize("level", ["data-centric", "model-centric", "pipeline-centric"])
@pytest.mark.parametrize("ci", ["github", "gitlab", "none"])
def test_rendered_without_hooks_a_project_is_the_same(lab, tmp_path, level, ci):
    """BASE is rendered by the engine, a fresh project by cookiecutter: the digest stands on their being equal."""
    template = lab.template(1)
    answers = {"project_slug": "churn", "maturity_level": level, "ci": ci}
    done = lab.cookiecutter(tmp_path, template, *[f"{key}={value}" for key, value in answers.items()])
    assert done.returncode == CLEAN, done.stderr
    state = json.loads((tmp_path / "churn" / STATE).read_text())
    (tmp_path / "again").mkdir()
    again = render(template, state["template"]["commit"], state["template"]["answers"], tmp_path / "again")
    fresh = snapshot(tmp_path / "churn")
    del fresh[STATE]
    assert snapshot(again) == fresh
    assert digest(again) == state["template"]["digest"]


# --- modules of other problems

FORECASTER = "src/churn/models/forecaster.py"
IMAGES = "src/churn/datasets/images.py"
ADDS = json.loads((HERE / "cookiecutter.json").read_text("utf-8"))["_adds"]["problem"]
REGRESSION, FORECASTING = (  # beside classification
    {path.replace("{{cookiecutter.__package}}", "churn") for path in set(ADDS[problem]) - set(ADDS["classification"])}
    for problem in ("regression", "forecasting")
)


@pytest.mark.parametrize(
    ("start", "also", "differ"),
    [
        ("D1", "forecasting", {STATE}),
        ("D1", "image-classification", {STATE, "pyproject.toml", IMAGES}),
        ("M1", "forecasting,regression", {STATE} | REGRESSION | FORECASTING),
        ("M1", "classification", {STATE}),
    ],
)
def test_other_problems_bring_their_modules_and_no_data_of_theirs(lab, tmp_path, start, also, differ):
    plain, more = (
        snapshot(lab.project(tmp_path / name, start, **answers))
        for name, answers in (("plain", {}), ("more", {"_also": also}))
    )
    assert plain.keys() <= more.keys()
    assert {path for path in more if more[path] != plain.get(path)} == differ
    assert b"pillow" in more["pyproject.toml"][1] or IMAGES not in more


def test_modules_of_other_problems_come_climb_and_go(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    ours = ordinary_edits(project, "churn") | edit_params(project)
    commit(project, "our edits")
    came = lab.upgrade(project, "M1", "_also=forecasting")
    came.check(CLEAN)
    assert snapshot(project).keys() - came.before.keys() == FORECASTING
    commit(project)

    climbed = lab.upgrade(project, "P2")
    climbed.check(CLEAN)
    assert snapshot(project).keys() >= FORECASTING
    assert json.loads(climbed[STATE])["default_context"]["_also"] == "forecasting"
    commit(project)

    gone = lab.upgrade(project, "P2", "_also=")
    gone.check(CLEAN)
    assert gone.before.keys() - snapshot(project).keys() == FORECASTING
    assert "_also" not in gone[STATE]
    assert all(text in gone[path] for path, text in ours.items())
    gone.undone()

    write(project, {FORECASTER: climbed[FORECASTER] + "\nOURS = 3\n"})
    commit(project)
    kept = lab.upgrade(project, "P2", "_also=")
    kept.check(CONFLICTS)
    assert kept.unmerged == {FORECASTER}
    assert "OURS = 3" in kept[FORECASTER]


def test_other_problems_may_be_named_in_the_record(lab, tmp_path):
    project = lab.project(tmp_path, "M1")
    state = json.loads((project / STATE).read_text("utf-8"))
    state["default_context"]["_also"] = "forecasting"
    write(project, {STATE: json.dumps(state, indent=2)})
    commit(project)
    came = lab.upgrade(project, "M1")
    came.check(CLEAN)
    assert snapshot(project).keys() - came.before.keys() == FORECASTING


# --- which files belong to the answers


TEMPLATE = {
    "maturity_level": ["low", "mid", "top"],
    "problem": ["cats", "dogs"],
    "ci": ["hub", "lab"],
    "_adds": {
        "maturity_level": {"mid": ["models", "src/{{ cookiecutter.__package }}/m.py"], "top": ["flows.py"]},
        "ci": {"hub": [".hub"], "lab": [".lab", "shared.yml"]},
        "problem": {"cats": ["shared.yml"]},
    },
}
FILES = [
    "a.py",
    "models/x.py",
    "models/y.cats.py",
    "src/p/m.py",
    "flows.py",
    ".hub/c.yml",
    ".lab",
    "shared.yml",
    "d.dogs",
]


@pytest.mark.parametrize(
    ("level", "problem", "ci", "files"),
    [
        ("low", "cats", "hub", {"a.py", ".hub/c.yml"}),
        ("low", "dogs", "hub", {"a.py", ".hub/c.yml", "d"}),
        ("mid", "cats", "lab", {"a.py", "models/x.py", "models/y.py", "src/p/m.py", ".lab", "shared.yml"}),
        ("top", "dogs", "lab", {"a.py", "models/x.py", "src/p/m.py", "flows.py", ".lab", "d"}),
    ],
)
def test_select_files(level, problem, ci, files):
    context = {"maturity_level": level, "problem": problem, "ci": ci, "__package": "p"}
    assert set(select_files(FILES, TEMPLATE, context).values()) == files


def test_a_listed_path_that_is_no_file_fails():
    context = {"maturity_level": "low", "problem": "cats", "ci": "hub", "__package": "q"}
    with pytest.raises(ValueError, match=r"m\.py.*no such path"):
        select_files(FILES, TEMPLATE, context)


def test_every_path_the_real_template_lists_is_there():
    template = json.loads((HERE / "cookiecutter.json").read_text("utf-8"))
    files = [path.replace("{{cookiecutter.__package}}", "p") for path in list_files(HERE / ROOT)]
    for level in template["maturity_level"]:
        for problem in template["problem"]:
            context = {"maturity_level": level, "problem": problem, "ci": "github", "__package": "p"}
            assert select_files(files, template, context)


def test_the_hooks_modules_import_one_way():
    """Imports inside functions count, too."""
    files = {file.stem: file for file in (HERE / "hooks").glob("*.py")}
    imports: dict[str, set[str]] = {}
    for name, file in files.items():
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        imports[name] = {node.module for node in nodes if isinstance(node, ast.ImportFrom)} & files.keys()
        imports[name] |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    order = list(graphlib.TopologicalSorter(imports).static_order())  # a circle is an error
    assert order.index("outcome") < order.index("upgrade") < order.index("ladder") < order.index("pre_gen_project")
