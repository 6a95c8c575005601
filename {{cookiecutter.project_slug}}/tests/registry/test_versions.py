"""What a version records, and that nothing half recorded is a version."""

from dataclasses import replace
from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
client = import_module(f"{PACKAGE}.registry.client")
evaluate = import_module(f"{PACKAGE}.training.evaluate")
git = import_module(f"{PACKAGE}.registry.git")
model_code = import_module(f"{PACKAGE}.registry.model_code")
params = import_module(f"{PACKAGE}.training.params")
provenance = import_module(f"{PACKAGE}.registry.provenance")
versions = import_module(f"{PACKAGE}.registry.versions")


def test_a_version_records_what_it_was_made_of(model):
    [version] = versions.versions(model.name, versions.fingerprint(model))

    assert {"commit", "data", "uv.lock", "python", "fingerprint", "prediction_hash"} <= set(version.tags)
    assert version.tags["sha256"] == artifact.signature(versions.version_folder(model.name, version.number)).sha256
    assert version.module == version.tags["module"] == params.module_name(model.name)
    assert version.tags["code"] == model_code.code_hash(version.module)


def test_a_version_of_release_0_3_was_made_by_the_module_of_its_model_s_name(model):
    [version] = versions.versions(model.name, versions.fingerprint(model))
    tags = {name: value for name, value in version.tags.items() if name != "module"}

    assert replace(version, tags=tags).module == model.name


def test_a_run_that_cannot_be_finished_is_marked_as_failed(model, monkeypatch):
    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(versions, "fingerprint", lambda model: "of something new")
    monkeypatch.setattr(versions, "_log_files", full)
    known = versions.versions(model.name)
    with pytest.raises(package.Refused, match="No space left"):
        versions.record_version(model, evaluate.read_scores(model), provenance.current(model.name))

    mlflow = client.connect()
    newest = mlflow.search_runs([client.experiment(mlflow)], order_by=["attributes.start_time DESC"])[0]
    assert newest.info.status == "FAILED"
    assert versions.versions(model.name) == known


def test_a_lost_or_changed_model_file_is_refused(model, champion):
    file, number = champion / artifact.FILE, versions.champion(model.name)
    content = file.read_bytes()
    try:
        for damage in (lambda: file.write_bytes(content[:-1]), file.unlink):
            damage()
            with pytest.raises(package.Refused, match="its model file is missing or not the one recorded"):
                versions.served_folder(model.name, number)
    finally:
        file.write_bytes(content)


def test_a_patch_has_new_files_whatever_git_is_set_to_and_leaves_the_index_alone(model, project, monkeypatch):
    settings = {"diff.noprefix": "true", "diff.context": "0", "diff.relative": "true", "diff.algorithm": "patience"}
    monkeypatch.setenv("GIT_CONFIG_COUNT", str(len(settings)))
    for number, (key, value) in enumerate(settings.items()):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", value)
    new = project / "src" / PACKAGE / "later.py"
    new.write_text("SAID = 'not yet committed'\n", encoding="utf-8")
    changed = project / "params.yaml"
    before = changed.read_bytes()
    changed.write_bytes(before.replace(b"models:", b"models:  # ours", 1))
    try:
        assert f"src/{PACKAGE}/later.py" in provenance.uncommitted_files()
        made_of = provenance.current(model.name)
        patch = made_of.files[provenance.PATCH]
        assert made_of.tags["dirty"] == "true"
        assert b"+SAID = 'not yet committed'\n" in patch
        assert b"\n # All that may change a model" in patch  # lines of context, by which git finds the place
        assert f"+++ b/src/{PACKAGE}/later.py".encode() in patch
        assert not git.git("diff", "--cached", "--name-only")
    finally:
        new.unlink()
        changed.write_bytes(before)
