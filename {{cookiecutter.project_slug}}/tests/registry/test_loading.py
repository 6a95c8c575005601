"""A version predicts with the code it was made with, whatever the code has become since."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pandas as pd
import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
contract = import_module(f"{PACKAGE}.training.contract")
loading = import_module(f"{PACKAGE}.registry.loading")
model_code = import_module(f"{PACKAGE}.registry.model_code")
params = import_module(f"{PACKAGE}.training.params")
provenance = import_module(f"{PACKAGE}.registry.provenance")
versions = import_module(f"{PACKAGE}.registry.versions")

CHANGE = f"""

import numpy as np
from {PACKAGE}.datasets.table import Table as Absolute
import {PACKAGE}.datasets.columns as aliased
import {PACKAGE}.datasets.table

_predict, plain = predict, {PACKAGE}.datasets.table


def predict(estimator, rows):
    found = _predict(estimator, rows)
    return found.assign(prediction=found["prediction"].to_numpy()[np.arange(len(found)) - 1])
"""  # each row gets the prediction of the row before
IN_A_FRESH_PROCESS = """
import sys
from importlib import import_module
from pathlib import Path
import pandas as pd

package, name, champion, folder = sys.argv[1:]
loading, versions = import_module(f"{package}.registry.loading"), import_module(f"{package}.registry.versions")
rows = pd.read_parquet(Path(folder) / "rows.parquet")
import_module(f"{package}.__main__").main(["train", name], standalone_mode=False)
for kind, number in (("champion", champion), ("new", versions.versions(name)[0].number)):
    version = loading.load_version(name, number)
    version.verify_examples()
    version.predict(rows).to_parquet(Path(folder) / f"{kind}.parquet")
    print(kind, number, version.module.__name__)
"""


@pytest.fixture(scope="module")
def changed(trained, command, tmp_path_factory):
    """What the first model's champion and a version of changed code predict in a process that began with that code.

    The code is put back, so that here the changed one is the other.
    """
    folder, model = tmp_path_factory.mktemp("predicted"), contract.load_models([])[0]
    source = trained / "src" / PACKAGE / "models" / f"{params.module_name(model.name)}.py"
    before, champion = source.read_bytes(), versions.champion(model.name)
    here = loading.load_version(model.name, champion)
    shutil.copy(model.files.holdout, folder / "rows.parquet")
    rows = pd.read_parquet(folder / "rows.parquet")
    if here.predict(rows)["prediction"].nunique() < 2:
        pytest.skip("a model that predicts one value does not show whose code it predicts with")
    source.write_bytes(before + CHANGE.encode())
    try:
        run = [sys.executable, "-c", IN_A_FRESH_PROCESS, PACKAGE, model.name, champion, str(folder)]
        environment = os.environ | {"PYTHONPATH": str(trained / "src")}
        done = subprocess.run(run, cwd=trained, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        found = {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()[-2:]}
        meanwhile = loading.load_version(model.name, found["new"][0]).predict(rows)
    finally:
        source.write_bytes(before)
        command("train", model.name)
    return SimpleNamespace(
        name=model.name,
        number=found["new"][0],
        rows=rows,
        expected=here.predict(rows),
        modules={kind: module for kind, (_, module) in found.items()},
        champion=pd.read_parquet(folder / "champion.parquet"),
        new=pd.read_parquet(folder / "new.parquet"),
        meanwhile=meanwhile,
    )


def as_changed(predictions):
    """Return predictions as the changed code gives them."""
    return predictions["prediction"].to_numpy()[np.arange(len(predictions)) - 1]


def same(found, expected):
    pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True), rtol=1e-9)


def test_the_champion_predicts_as_before_the_code_was_changed(changed):
    same(changed.champion, changed.expected)
    assert changed.modules["champion"].startswith(f"{PACKAGE}_")
    assert changed.modules["champion"].endswith(f".models.{params.module_name(changed.name)}")


def test_a_version_recorded_afterwards_predicts_with_the_new_code(changed):
    module = contract.load_model(changed.name).module
    estimator = artifact.load(versions.version_folder(changed.name, changed.number), module.TRUSTED)
    unchanged = module.predict(estimator, changed.rows)

    assert changed.modules["new"] == f"{PACKAGE}.models.{params.module_name(changed.name)}"
    assert (changed.new["prediction"].to_numpy() == as_changed(unchanged)).all()
    assert (changed.new["prediction"].to_numpy() != unchanged["prediction"].to_numpy()).any()


def test_a_process_that_began_with_other_code_predicts_with_that_of_the_version(changed):
    """A service that runs on while the code on disk is changed has the earlier code in memory."""
    same(changed.meanwhile, changed.new)


def test_a_version_of_uncommitted_code_predicts_from_its_commit_and_patch(changed):
    version = loading.load_version(changed.name, changed.number)
    version.verify_examples()

    same(version.predict(changed.rows), changed.new)
    assert version.module.__name__.startswith(f"{PACKAGE}_")
    assert versions.get_version(changed.name, changed.number).tags["dirty"] == "true"


def test_absolute_imports_of_the_package_mean_the_code_of_the_version_too(changed):
    module = loading.load_version(changed.name, changed.number).module
    state = module.__name__.partition(".")[0]

    assert state != PACKAGE
    assert module.Absolute.__module__ == module.plain.__name__ == f"{state}.datasets.table"
    assert module.aliased.__name__ == f"{state}.datasets.columns"


def test_the_code_of_a_version_finds_the_files_of_the_project(changed):
    """Such as the weights of a network, which a module reads from below ROOT."""
    state = loading.load_version(changed.name, changed.number).module.__name__.partition(".")[0]

    assert import_module(state).ROOT == package.ROOT


def test_a_changed_patch_is_refused(changed):
    with versions.run_artifacts(changed.name, changed.number, provenance.PATCH) as patch:
        content = patch.read_bytes()
        patch.write_bytes(content + b"\n")
        try:
            with pytest.raises(package.Refused, match=f"its {provenance.PATCH} is not the one that was recorded"):
                loading.load_version(changed.name, changed.number)
        finally:
            patch.write_bytes(content)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"commit": "0" * 40}, f"its commit {'0' * 12} is not in this repository: git fetch it"),
        ({"dirty": "false"}, "does not give the code that was recorded with the version"),
    ],
)
def test_code_that_cannot_be_had_is_named_in_one_line(changed, monkeypatch, tags, words):
    found = versions.get_version(changed.name, changed.number)
    shutil.rmtree(package.ROOT / "artifacts" / ".code", ignore_errors=True)
    other = {name: value for name, value in (found.tags | tags).items() if name != "patch"}
    monkeypatch.setattr(loading, "get_version", lambda *_: replace(found, tags=other))

    with pytest.raises(package.Refused, match=words) as refused:
        loading.load_version(changed.name, changed.number)
    assert "\n" not in str(refused.value)


def test_the_hash_of_the_code_follows_all_that_the_model_imports_and_nothing_else(model, tmp_path):
    source = tmp_path / PACKAGE
    shutil.copytree(model_code.SOURCE, source)
    known = model_code.code_hash(params.module_name(model.name), source)
    imported = model_code.imported_files(params.module_name(model.name), source)

    def hashed_with_another_line(path):
        content = path.read_bytes()
        path.write_bytes(content + b"\nLATER = 1\n")
        try:
            return model_code.code_hash(params.module_name(model.name), source)
        finally:
            path.write_bytes(content)

    used = [each.__file__ for each in vars(model.module).values() if isinstance(each, ModuleType)]
    own = {source / Path(file).relative_to(model_code.SOURCE) for file in used if PACKAGE in Path(file).parts}
    assert {source / "models" / f"{params.module_name(model.name)}.py", *own} <= imported
    assert known == model_code.code_hash(params.module_name(model.name))
    for path in source.rglob("*.py"):
        assert (hashed_with_another_line(path) != known) is (path in imported), path
    others = {path.parent.name for path in source.rglob("*.py") if path not in imported}
    assert "commands" in others
    assert "registry" in others


def test_the_hash_of_the_code_does_not_depend_on_how_lines_end(model, tmp_path):
    source = tmp_path / PACKAGE
    shutil.copytree(model_code.SOURCE, source)
    for path in source.rglob("*.py"):
        path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    assert model_code.code_hash(params.module_name(model.name), source) == model_code.code_hash(
        params.module_name(model.name)
    )


def test_data_beside_the_code_belongs_to_it_and_drafts_and_hidden_files_do_not(model, tmp_path):
    source = tmp_path / PACKAGE
    shutil.copytree(model_code.SOURCE, source)
    (source / "models" / "draft.py").write_text("def half(:\n", encoding="utf-8")
    (source / "models" / ".DS_Store").write_bytes(b"0")
    known = model_code.code_hash(params.module_name(model.name), source)
    (source / "models" / "weights.txt").write_text("1", encoding="utf-8")

    assert known == model_code.code_hash(params.module_name(model.name))
    assert known != model_code.code_hash(params.module_name(model.name), source)


def test_code_with_a_byte_order_mark_is_read_and_a_draft_is_left_alone(model, tmp_path):
    source = tmp_path / PACKAGE
    shutil.copytree(model_code.SOURCE, source)
    module, draft = source / "models" / f"{params.module_name(model.name)}.py", source / "models" / "draft.py"
    module.write_bytes(b"\xef\xbb\xbf" + f"import {PACKAGE}.datasets as own\n".encode() + module.read_bytes())
    draft.write_text("def half(:\n", encoding="utf-8")
    model_code.code_hash(params.module_name(model.name), source)
    for path in (module, draft):
        model_code._rename_imports(path, "other")

    assert module.read_text(encoding="utf-8-sig").startswith("import other.datasets as own\n")
    assert draft.read_text(encoding="utf-8") == "def half(:\n"


def test_what_the_code_of_a_version_raises_is_told_in_one_line(model, monkeypatch):
    def gone(*_):
        raise ModuleNotFoundError("No module named 'gone'")

    monkeypatch.setattr(loading, "load_module", gone)
    with pytest.raises(package.Refused, match="cannot be loaded here: No module named 'gone'"):
        loading.load_version(model.name, versions.champion(model.name))
