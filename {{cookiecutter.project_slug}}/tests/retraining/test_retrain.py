"""The retrain: what it does with new rows, with nothing new, with bad rows, and after it was killed."""

import shutil
import subprocess
from contextlib import chdir
from importlib import import_module

import pandas as pd
import pytest
import yaml

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
catalog = import_module(f"{PACKAGE}.catalog")
data = import_module(f"{PACKAGE}.data")
models = import_module(f"{PACKAGE}.models")
pipeline = import_module(f"{PACKAGE}.pipeline")
registry = import_module(f"{PACKAGE}.registry")
state = import_module(f"{PACKAGE}.state")


@pytest.fixture(scope="module", autouse=True)
def sources(project):
    """The copy's catalogue reads files that the tests let grow: three quarters of the rows to begin with."""
    whole = {name: catalog.read(name) for name in catalog.locked()}
    entries = yaml.safe_load((project / "data" / "catalog.yaml").read_text(encoding="utf-8"))
    for name, entry in entries.items():
        facts = {key: entry[key] for key in ("owner", "licence", "refresh")}
        entries[name] = facts | {"file": f"data/{name}.parquet"}
        write(project, name, whole[name].iloc[: len(whole[name]) * 3 // 4])
    (project / "data" / "catalog.yaml").write_text(yaml.safe_dump(entries), encoding="utf-8")
    shutil.rmtree(project / "artifacts", ignore_errors=True)
    return whole


def write(project, name, rows):
    rows.to_parquet(project / "data" / f"{name}.parquet")


def states(outcomes):
    return {outcome.state for outcome in outcomes}


def aliases():
    return {model.name: registry.champion(model.name) for model in models.chosen([])}


def test_1_new_rows_are_recorded_and_judged(capsys):
    outcomes = pipeline.retrain([], "tests")

    assert states(outcomes) <= {"promoted", "kept"}, outcomes
    assert all(registry.versions(outcome.model)[0].tags["verdict"] for outcome in outcomes)
    with chdir(package.ROOT), pipeline.Repo() as repo:
        assert not repo.status()


def test_2_nothing_new_changes_nothing():
    before = aliases(), [len(registry.versions(name)) for name in aliases()]

    assert states(pipeline.retrain([], "tests")) == {"unchanged"}
    assert (aliases(), [len(registry.versions(name)) for name in aliases()]) == before


def test_3_a_lost_stage_output_is_made_again_and_makes_no_version():
    for model in models.chosen([]):
        shutil.rmtree(model.folder)
    before = [len(registry.versions(name)) for name in aliases()]

    assert "failed" not in states(pipeline.retrain([], "tests"))
    assert [len(registry.versions(name)) for name in aliases()] == before


def test_4_bad_rows_change_no_snapshot_model_or_alias(project, sources):
    before = (project / "data" / "catalog.lock").read_bytes(), aliases()
    lost = [*data.TABLES[0].features, data.TABLES[0].target][0]
    name = next(name for name, rows in sources.items() if lost in rows)
    good = pd.read_parquet(project / "data" / f"{name}.parquet")
    write(project, name, good.drop(columns=lost))
    try:
        with pytest.raises(package.Refused, match=lost):
            pipeline.retrain([], "tests")
        assert ((project / "data" / "catalog.lock").read_bytes(), aliases()) == before
    finally:
        write(project, name, good)


def test_5_killed_between_verdict_and_promotion_it_is_finished_by_the_next_run(project, sources, monkeypatch):
    for name, rows in sources.items():
        write(project, name, rows.iloc[: len(rows) * 7 // 8])

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "mark_settled", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.retrain([], "tests")
    monkeypatch.undo()

    assert "failed" not in states(pipeline.retrain([], "tests"))
    assert states(pipeline.retrain([], "tests")) == {"unchanged"}


def test_6_two_retrains_at_once_are_one():
    with models.alone(), pytest.raises(package.Refused, match="another training"):
        pipeline.retrain([], "tests")


def test_7_uncommitted_code_is_not_promoted_unattended_until_it_is_committed(project, sources):
    assert state.tags()["dirty"] == "true"
    for name, rows in sources.items():
        write(project, name, rows.iloc[len(rows) // 8 :])
    before = aliases()
    outcomes = pipeline.retrain([], "tests", unattended=True)

    assert states(outcomes) == {"waiting"}, outcomes
    assert all("code is committed: data/catalog.yaml" in outcome.words for outcome in outcomes)
    assert aliases() == before

    commit = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgSign=false", "commit", "-qam", "work"]
    subprocess.run(["git", *commit], cwd=project, check=True)
    outcomes = pipeline.retrain([], "tests", unattended=True)
    assert states(outcomes) <= {"promoted", "kept"}, outcomes
    assert not any("code is committed" in outcome.words for outcome in outcomes)


def test_8_one_model_that_raises_stops_no_other_and_is_named(monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("of the team's own")

    monkeypatch.setattr(pipeline, "settle", broken)
    for model in models.chosen([]):
        (model.folder / "settled.json").unlink()
    with pytest.raises(package.Refused, match="not retrained") as refusal:
        pipeline.main(["retrain"])

    assert all(name in str(refusal.value) for name in aliases())
    assert "failed: ZeroDivisionError: of the team's own" in capsys.readouterr().out


@pytest.mark.parametrize(("place", "seen"), [("parts", {"split", "fit"}), (".", {"split"})])
def test_9_a_new_module_is_seen(project, place, seen):
    file = project / "src" / PACKAGE / place / "later.py"
    pipeline.retrain([], "tests")
    file.write_text("SAID = 1\n", encoding="utf-8")
    try:
        with chdir(package.ROOT), pipeline.Repo() as repo:
            stale = pipeline.outdated(repo)
        assert {f"{stage}@{model.name}" for model in models.chosen([]) for stage in seen} <= stale
    finally:
        file.unlink()


def test_10_a_remote_that_does_not_answer_stops_nothing(monkeypatch, capsys):
    def gone(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(pipeline.Repo, "push", gone)
    with chdir(package.ROOT), pipeline.Repo() as repo:
        pipeline.push(repo)

    assert "not pushed" in capsys.readouterr().out
