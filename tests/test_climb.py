"""A team replaces the sample by its own table, then climbs; and what bad data does to it on the way."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from projects import HIGHEST, LOWEST, OF_MODELS, Project, ask, eventually, files, free_port, generate

OWN = Path(__file__).parent / "own"
pytestmark = pytest.mark.xdist_group("climb")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A data-centric project whose sample was replaced by a table with gaps, words, dates and odd column names."""
    home = tmp_path_factory.mktemp("own data")
    project = Project(generate(home / "work", project_slug="cellar"), home / "environment")
    shutil.copy(OWN / "wine.csv", project.folder / "data" / "wine.csv")
    shutil.copy(OWN / "catalog.yaml", project.folder / "data" / "catalog.yaml")
    shutil.copy(OWN / "data.py", project.folder / "src" / "cellar" / "data.py")
    shutil.rmtree(project.folder / "data" / "sample")
    return project


def test_1_own_data_passes_at_the_lowest_level(own):
    own.just("data")
    own.just("check")
    own.commit("Our own table")


def test_1_a_schema_drafted_from_a_source_is_a_data_py_that_runs(own):
    module = own.folder / "src" / "cellar" / "data.py"
    ours = module.read_bytes()
    module.write_text(own.just("schema", "cellar-book"), encoding="utf-8")

    assert "178 rows" in own.just("data")
    module.write_bytes(ours)
    own.just("data")


def test_2_a_preview_changes_nothing_and_names_what_would_come(own):
    before = files(own.folder)
    shown = own.just("preview", HIGHEST)

    assert "src/cellar/retraining/retrain.py" in shown
    assert files(own.folder) == before
    assert own.run("git", "status", "--porcelain").stdout == ""


def test_3_two_levels_up_there_is_no_conflict_and_every_own_line_stands(own):
    before = files(own.folder)
    own.just("upgrade", HIGHEST)
    after = files(own.folder)

    for name in ("data/wine.csv", "data/catalog.yaml", "data/catalog.lock", "src/cellar/data.py"):
        assert after[name] == before[name]
    assert not (own.folder / "data" / "sample").exists()
    assert not own.run("git", "diff", "--name-only", "--diff-filter=U").stdout
    own.run("uv", "sync")
    own.commit("Climb")


def test_4_the_climbed_project_passes_its_checks_on_its_own_rows(own):
    own.check_models(*OF_MODELS, "tests/monitoring", "tests/retraining/test_gate.py")
    own.commit("uv.lock")


def test_5_one_command_ends_in_a_served_model_of_its_own_rows(own, tmp_path):
    assert "version 1 serves" in own.just("retrain")
    port = free_port()
    with own.server("uv", "run", "just", "serve", str(port)) as process:
        eventually(port, "/ready", process)
        [model] = own.models
        described = own.folder / "artifacts" / model / "model" / "signature.json"
        examples = json.loads(described.read_text(encoding="utf-8"))["examples"]
        status, answer = ask(port, f"/models/{model}/predict", {"rows": examples})
        assert status == 200, answer
        assert {each["prediction"] for each in answer["predictions"]} <= {"barolo", "grignolino", "barbera"}
        status, answer = ask(port, f"/models/{model}/predict", {"rows": [examples[0] | {"proline": "much"}]})
        assert (status, "proline" in answer["detail"]) == (422, True)


def rows_of(project: Project) -> list[dict[str, str]]:
    with (project.folder / "data" / "wine.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def lost_column(rows):
    return [{key: value for key, value in row.items() if key != "proline"} for row in rows]


def wrong_type(rows):
    return [*rows[:3], rows[3] | {"proline": "much"}, *rows[4:]]


def nulls(rows):
    return [rows[0] | {"proline": ""}, rows[1] | {"proline": ""}, *rows[2:]]


def doubles(rows):
    return [*rows, rows[5]]


def out_of_range(rows):
    return [rows[0] | {"alcohol": "99"}, *rows[1:]]


def no_rows(rows):
    return rows[:0]


BAD = [
    (lost_column, ["proline", "missing"]),
    (wrong_type, ["proline", "1 of 178 rows", "proline=much"]),
    (nulls, ["proline", "2 of 178 rows", "bottle=B"]),
    (doubles, ["bottle", "duplicate keys", "2 of 179 rows"]),
    (out_of_range, ["alcohol", "1 of 178 rows", "99"]),
    (no_rows, ["cellar-book is empty"]),
]


@pytest.mark.parametrize(("spoil", "words"), BAD, ids=[spoil.__name__ for spoil, _ in BAD])
def test_6_bad_rows_are_told_in_one_message_and_change_nothing(own, spoil: Callable, words):
    path = own.folder / "data" / "wine.csv"
    good = path.read_bytes()
    fields = list(rows_of(own)[0])
    bad = spoil(rows_of(own))
    before = state(own)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [name for name in fields if not bad or name in bad[0]])
        writer.writeheader()
        writer.writerows(bad)
    try:
        for command in ("data", "retrain"):
            done = own.run("uv", "run", "just", command)
            assert done.returncode != 0
            assert "Traceback" not in done.stderr
            for each in words:
                assert each in done.stderr, done.stderr
        assert state(own) == before
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00nonsense", None], ids=["empty", "unreadable", "absent"])
def test_7_a_file_that_cannot_be_read_is_named_and_changes_nothing(own, content):
    path = own.folder / "data" / "wine.csv"
    good, before = path.read_bytes(), state(own)
    path.unlink() if content is None else path.write_bytes(content)
    try:
        done = own.run("uv", "run", "just", "data")
        assert done.returncode != 0
        assert "cellar-book" in done.stderr
        assert "Traceback" not in done.stderr
        assert state(own) == before
    finally:
        path.write_bytes(good)


def state(project: Project) -> tuple:
    """What bad data may not change: the lock, the snapshots, versions and aliases."""
    lock = (project.folder / "data" / "catalog.lock").read_bytes()
    snapshots = sorted(path.name for path in (project.folder / "data" / "raw").rglob("*"))
    code = (
        "from importlib import import_module as i; import sys; r = i(sys.argv[1] + '.registry.versions');"
        "print([(v.number, v.tags) for v in r.versions(sys.argv[2])], r.champion(sys.argv[2]))"
    )
    asked = project.run("uv", "run", "python", "-c", code, project.package, project.models[0])
    assert asked.returncode == 0, asked.stderr
    return lock, snapshots, asked.stdout


def test_8_a_step_down_takes_the_machinery_and_leaves_what_is_the_teams(own):
    own.commit("Retrained")
    own.just("upgrade", LOWEST)

    assert not (own.folder / "dvc.yaml").exists()
    assert (own.folder / "data" / "wine.csv").exists()
    own.commit("Step down")
    own.just("data")
