"""The retrain: what it does with new rows, with nothing new, with bad rows, and after it was killed."""

import re
import shutil
import subprocess
from dataclasses import replace
from importlib import import_module

import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
catalog = import_module(f"{PACKAGE}.datasets.catalog")
data = import_module(f"{PACKAGE}.data")
artifact = import_module(f"{PACKAGE}.training.artifact")
client = import_module(f"{PACKAGE}.registry.client")
contract = import_module(f"{PACKAGE}.training.contract")
deployments = import_module(f"{PACKAGE}.registry.deployments")
params = import_module(f"{PACKAGE}.training.params")
provenance = import_module(f"{PACKAGE}.registry.provenance")
retrain = import_module(f"{PACKAGE}.retraining.retrain")
stages = import_module(f"{PACKAGE}.retraining.stages")
versions = import_module(f"{PACKAGE}.registry.versions")
workspace = import_module(f"{PACKAGE}.training.workspace")
JUDGED = {"promoted", "kept", "waiting"}  # the last one where too few rows are held out to compare on


@pytest.fixture(scope="module", autouse=True)
def sources(project):
    """The rows of each table's source in the copy; its files hold three quarters of them to begin with."""
    names = [name for name in catalog.locked() if name.startswith("sample_")]
    whole = {name: pd.read_parquet(project / "data" / f"{name}.parquet") for name in names}
    for name, rows in whole.items():
        write(project, name, rows.iloc[: len(rows) * 3 // 4])
    shutil.rmtree(project / "artifacts", ignore_errors=True)
    return whole


def write(project, name, rows):
    rows.to_parquet(project / "data" / f"{name}.parquet")


def states(outcomes):
    return {outcome.state for outcome in outcomes}


def aliases():
    return {model.name: versions.champion(model.name) for model in contract.load_models([])}


def test_1_new_rows_are_recorded_and_judged(capsys):
    outcomes = retrain.retrain([], "tests")

    assert states(outcomes) <= JUDGED, outcomes
    assert all(versions.versions(outcome.model)[0].tags["verdict"] for outcome in outcomes)
    with stages.repository() as repo:
        assert not repo.status()


def test_2_nothing_new_changes_nothing():
    before = aliases(), [len(versions.versions(name)) for name in aliases()]

    assert states(retrain.retrain([], "tests")) <= {"unchanged", "waiting"}
    assert (aliases(), [len(versions.versions(name)) for name in aliases()]) == before


def test_2_what_is_settled_depends_on_who_serves():
    """A version is judged again once another one serves; one that serves unjudged is judged by itself."""
    name = next(iter(aliases()))
    number = versions.versions(name)[0].number
    block = params.model_blocks([name])[name]
    deployments.promote(name, number, "tests")
    assert states(retrain.retrain([name], "tests")) == {"unchanged"}
    assert retrain.unchanged_version(name, block)
    client.connect().delete_model_version_tag(client.registered_name(name), number, "verdict")
    client.connect().delete_model_version_tag(client.registered_name(name), number, "settled")
    workspace.Workspace(name).settled.unlink()
    assert states(retrain.retrain([name], "tests")) == {"unchanged"}  # as after a climb: recorded by `train`
    assert versions.get_version(name, number).tags["verdict"]
    client.connect().delete_registered_model_alias(client.registered_name(name), versions.CHAMPION)
    try:
        assert retrain.unchanged_version(name, block) is None
        assert states(retrain.retrain([name], "tests")) <= JUDGED
    finally:
        deployments.promote(name, number, "tests")


def test_3_a_lost_stage_output_is_made_again_and_makes_no_version():
    for model in contract.load_models([]):
        shutil.rmtree(model.files.folder)
    before = [len(versions.versions(name)) for name in aliases()]

    assert "failed" not in states(retrain.retrain([], "tests"))
    assert [len(versions.versions(name)) for name in aliases()] == before


def test_4_bad_rows_change_no_snapshot_model_or_alias(project, sources, monkeypatch):
    before = (project / "data" / "catalog.lock").read_bytes(), aliases()
    snapshots = sorted((project / "data" / "raw").rglob("*.parquet"))
    table = data.TABLES[0]
    lost = table.target
    good = {name: pd.read_parquet(project / "data" / f"{name}.parquet") for name in sources}
    for name, rows in good.items():
        write(project, name, rows.iloc[:-1])
    broken = replace(table, load=lambda: table.load().drop(columns=lost))
    monkeypatch.setattr(data, "TABLES", [broken, *data.TABLES[1:]])
    try:
        with pytest.raises(package.Refused, match=re.escape(f"{lost}: the column is missing")):
            retrain.retrain([], "tests")
        assert ((project / "data" / "catalog.lock").read_bytes(), aliases()) == before
        assert sorted((project / "data" / "raw").rglob("*.parquet")) == snapshots
    finally:
        for name, rows in good.items():
            write(project, name, rows)


def test_5_killed_between_verdict_and_promotion_it_is_finished_by_the_next_run(project, sources, monkeypatch):
    for name, rows in sources.items():
        write(project, name, rows.iloc[: len(rows) * 7 // 8])

    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(versions, "mark_judged", killed)
    with pytest.raises(KeyboardInterrupt):
        retrain.retrain([], "tests")
    monkeypatch.undo()

    assert "failed" not in states(retrain.retrain([], "tests"))
    assert states(retrain.retrain([], "tests")) == {"unchanged"}


def test_6_two_retrains_at_once_are_one():
    with workspace.training_lock(), pytest.raises(package.Refused, match="another training"):
        retrain.retrain([], "tests")


def test_7_uncommitted_code_is_not_promoted_unattended_until_it_is_committed(project, sources):
    with (project / "data" / "catalog.yaml").open("a", encoding="utf-8") as file:
        file.write("\n# ours\n")
    assert provenance.uncommitted_files()
    for name, rows in sources.items():
        write(project, name, rows.iloc[len(rows) // 8 :])
    before = aliases()
    outcomes = retrain.retrain([], "tests", unattended=True)

    assert states(outcomes) == {"waiting"}, outcomes
    assert all("code is committed: data/catalog.yaml" in outcome.message for outcome in outcomes)
    assert aliases() == before

    commit = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgSign=false", "commit", "-qam", "work"]
    subprocess.run(["git", *commit], cwd=project, check=True)
    outcomes = retrain.retrain([], "tests", unattended=True)
    assert states(outcomes) <= JUDGED, outcomes
    assert not any("code is committed" in outcome.message for outcome in outcomes)


def test_8_one_model_that_raises_stops_no_other_and_is_named(monkeypatch, command):
    def broken(*_, **__):
        raise ZeroDivisionError("of the team's own")

    monkeypatch.setattr(retrain, "settle", broken)
    for model in contract.load_models([]):
        model.files.settled.unlink()
    said = command("retrain", status=1)

    refusal = said.splitlines()[-1]
    assert refusal.startswith("error: ")
    assert "not retrained" in refusal
    assert all(name in refusal for name in aliases())
    assert "failed: ZeroDivisionError: of the team's own" in said


@pytest.mark.parametrize(("place", "seen"), [("features", {"split", "fit", "score"}), (".", {"split"})])
def test_9_a_new_module_is_seen(project, place, seen):
    file = project / "src" / PACKAGE / place / "later.py"
    retrain.retrain([], "tests")
    file.write_text("SAID = 1\n", encoding="utf-8")
    try:
        with stages.repository() as repo:
            stale = stages.outdated(repo)
        assert {f"{stage}@{model.name}" for model in contract.load_models([]) for stage in seen} <= stale
    finally:
        file.unlink()


def test_10_a_remote_that_does_not_answer_stops_nothing(monkeypatch, capsys):
    def gone(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(stages.Repo, "push", gone)
    with stages.repository() as repo:
        stages.push(repo)

    assert "not pushed" in capsys.readouterr().out


def test_11_a_table_that_another_model_reads_is_checked_before_its_snapshot_counts(project, sources, monkeypatch):
    before = (project / "data" / "catalog.lock").read_bytes()
    good = {name: pd.read_parquet(project / "data" / f"{name}.parquet") for name in sources}
    for name, rows in good.items():
        write(project, name, rows.iloc[:-1])
    table = data.TABLES[0]
    lost = [*table.features, table.target][0]
    other = replace(table, name="of another model", load=lambda: table.load().drop(columns=lost))
    monkeypatch.setattr(data, "TABLES", [*data.TABLES, other])
    try:
        with pytest.raises(package.Refused, match=re.escape(f"{lost}: the column is missing")):
            retrain.retrain([next(iter(aliases()))], "tests")
        assert (project / "data" / "catalog.lock").read_bytes() == before
    finally:
        for name, rows in good.items():
            write(project, name, rows)


def cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def snapshots(project):
    """The snapshots that the lock names, and the former ones."""
    named = {catalog.snapshot_path(name, entry["sha256"]) for name, entry in catalog.locked().items()}
    return sorted(named), sorted({*(project / "data" / "raw").glob("*/*.parquet")} - named)


def test_12_a_snapshot_that_was_cut_off_is_mended_and_never_recorded(project, monkeypatch, tmp_path):
    retrain.retrain([], "tests")
    record, (current, former) = stages.DATA.read_bytes(), snapshots(project)
    assert current and former
    for path in (current[0], former[0]):
        whole = path.read_bytes()
        cut_off(path)
        retrain.retrain([], "tests")
        assert catalog.is_whole(path)
        assert stages.DATA.read_bytes() == record

    cut_off(path)
    monkeypatch.setattr(stages, "CACHE", tmp_path)
    with pytest.raises(package.Refused, match=rf"the snapshot data/raw/.*/{path.name} is damaged, and DVC's cache"):
        retrain.retrain([], "tests")
    assert stages.DATA.read_bytes() == record
    path.write_bytes(whole)


def test_13_a_champion_whose_file_is_damaged_is_put_back_or_named(monkeypatch, capsys):
    for name in aliases():
        deployments.promote(name, versions.versions(name)[0].number, "tests")
    retrain.retrain([], "tests")
    assert states(retrain.retrain([], "tests")) == {"unchanged"}
    for name, number in aliases().items():
        cut_off(versions.version_folder(name, number) / artifact.FILE)
    assert states(retrain.retrain([], "tests")) == {"unchanged"}
    assert "was damaged: put back from artifacts/" in capsys.readouterr().out

    for name, number in aliases().items():
        (versions.version_folder(name, number) / artifact.FILE).touch()
    monkeypatch.setattr(artifact, "holds", lambda *_: False)
    outcomes = retrain.retrain([], "tests")
    assert states(outcomes) == {"failed"}
    assert all("not the one recorded; serve another: uv run just rollback" in each.message for each in outcomes)
