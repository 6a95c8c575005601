"""What a version was made of is known, can be made again, and is never cleaned away; what serves can be taken back."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
lineage = import_module(f"{PACKAGE}.lineage")
models = import_module(f"{PACKAGE}.models")
pipeline = import_module(f"{PACKAGE}.pipeline")
registry = import_module(f"{PACKAGE}.registry")
state = import_module(f"{PACKAGE}.state")
train = import_module(f"{PACKAGE}.train")


@pytest.fixture(scope="module", autouse=True)
def retrained(trained):
    """Every model has been retrained on the rows as they are."""
    pipeline.retrain([], "tests")


@pytest.fixture(params=[model.name for model in models.chosen([])])
def version(request):
    """The version of a model that was made of the rows as they are, whatever other tests have recorded since."""
    return request.param, registry.versions(request.param, registry.fingerprint(models.named(request.param)))[0].number


def test_a_version_made_again_is_identical(version, tmp_path):
    folder, changed = lineage.restore(*version, tmp_path / "here")

    assert changed == []
    lineage.git("worktree", "remove", "--force", str(folder))


def test_a_patch_holds_new_files_whatever_git_is_set_to_and_leaves_the_index_alone(retrained, monkeypatch):
    for name, value in {"COUNT": "1", "KEY_0": "diff.noprefix", "VALUE_0": "true"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    new = package.ROOT / "src" / PACKAGE / "later.py"
    new.write_text("SAID = 'not yet committed'\n")
    try:
        assert f"src/{PACKAGE}/later.py" in state.uncommitted()
        patch = state.now().files[state.PATCH]
        assert b"+SAID = 'not yet committed'\n" in patch
        assert f"+++ b/src/{PACKAGE}/later.py".encode() in patch
        assert not lineage.git("diff", "--cached", "--name-only").stdout
    finally:
        new.unlink()


def test_what_differs_is_named(version, tmp_path):
    model = models.named(version[0])
    known = registry.version(*version)
    with registry.kept(*version, "metrics.json") as file:
        content = json.loads(file.read_text())
    (tmp_path / "metrics.json").write_text(json.dumps(content | {"value": -1}))
    other = replace(known, tags=known.tags | {"sha256": "0"})
    changed = lineage.differences(tmp_path / "metrics.json", model.folder, other)

    assert [line.partition(":")[0] for line in changed] == ["model file", "value"]


@pytest.mark.parametrize(
    ("tags", "words"), [({"commit": "none"}, "nothing was committed"), ({"commit": "0" * 40}, "git fetch it")]
)
def test_code_that_is_not_here_is_named(version, tags, words, tmp_path):
    known = registry.version(*version)
    with pytest.raises(package.Refused, match=words):
        lineage.worktree(tmp_path / "x", replace(known, tags=known.tags | tags), tmp_path / state.PATCH, replace=False)


def test_a_lost_patch_is_named(version, tmp_path):
    known = replace(registry.version(*version), tags=registry.version(*version).tags | {"dirty": "true"})
    with pytest.raises(package.Refused, match=state.PATCH):
        lineage.worktree(tmp_path / "x", known, tmp_path / state.PATCH, replace=False)


def test_a_version_tells_what_it_was_made_of(version):
    told = "\n".join(lineage.told(*version))

    for word in ("commit", "data", "parameters", "uv.lock", "model file", "verdict"):
        assert word in told


def test_history_shows_every_version_and_every_deployment(version):
    model, _ = version
    shown = "\n".join(lineage.history(model))

    assert all(f" {each.number}  " in shown for each in registry.versions(model))
    assert len(registry.deployments(model)) >= 1
    assert registry.deployments(model)[-1].reason[:20] in shown


def test_cleaning_frees_only_what_no_version_needs(version):
    rubbish = lineage._cache() / "ff" / ("f" * 30)
    rubbish.parent.mkdir(parents=True, exist_ok=True)
    rubbish.write_text("rubbish")
    lineage.clean()

    assert not rubbish.exists()
    needed = lineage.used(package.ROOT)
    assert needed
    assert all((lineage._cache() / digest[:2] / digest[2:]).exists() for digest in needed)


def test_the_drill_a_bad_version_serves_and_one_command_takes_it_back(trained):
    """Back twice leads to the version before the version before; the log has grown by every step."""
    model = models.chosen([])[0]
    first = registry.champion(model.name)
    for _ in range(2):
        before = len(registry.deployments(model.name))
        retaught(model)
    assert registry.champion(model.name) != first
    for _ in range(2):
        environment = os.environ | {"PYTHONPATH": str(trained / "src")}
        command = [sys.executable, "-m", f"{PACKAGE}.registry", "rollback", model.name]
        subprocess.run(command, cwd=trained, env=environment, check=True)

    assert registry.champion(model.name) == first
    assert len(registry.deployments(model.name)) == before + 3
    assert registry.deployments(model.name)[-1].reason.startswith("rollback")
    train.main([model.name])


def retaught(model):
    """A version made of half of the rows that the one before was made of serves."""
    import pandas as pd

    evaluate = import_module(f"{PACKAGE}.evaluate")
    path = model.folder / "rows" / "train.parquet"
    rows = pd.read_parquet(path)
    rows.iloc[: len(rows) * 2 // 3].to_parquet(path)
    train.fit(model)
    evaluate.score(model)
    evaluate.report(model)
    registry.promote(model.name, registry.record(model)[0], "tests")
