"""The model file is the same wherever it is made, and only what was saved is loaded; its signature checks rows."""

import os
import pickle
import re
import subprocess
import sys
from importlib import import_module

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")


class Unknown:
    """A type that no model file may hold."""


def test_the_same_state_gives_the_same_bytes_in_another_process(model, trained):
    before = (model.files.model / artifact.FILE).read_bytes()
    code = f"from {PACKAGE}.training import contract, train; train.fit(contract.load_model({model.name!r}))"
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "3", "PYTHONPATH": str(trained / "src")}
    subprocess.run([sys.executable, "-c", code], cwd=trained, env=environment, check=True)

    assert (model.files.model / artifact.FILE).read_bytes() == before


def test_a_changed_file_is_not_loaded(champion, model, tmp_path):
    for name in (artifact.FILE, artifact.SIGNATURE):
        (tmp_path / name).write_bytes((champion / name).read_bytes())
    (tmp_path / artifact.FILE).write_bytes(pickle.dumps({"no": "model"}))

    with pytest.raises(package.Refused, match="its hash differs"):
        artifact.load(tmp_path, model.module.TRUSTED)


def test_a_type_that_is_not_trusted_is_named(tmp_path):
    with pytest.raises(package.Refused, match=r"Unknown.*add it to TRUSTED"):
        artifact.save(tmp_path, {"step": Unknown()}, {}, ())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"inputs": 1}'])
def test_a_signature_that_cannot_be_read_is_refused(tmp_path, content):
    (tmp_path / artifact.SIGNATURE).write_text(content, encoding="utf-8")

    with pytest.raises(package.Refused, match=f"holds no readable {artifact.SIGNATURE}"):
        artifact.signature(tmp_path)


def test_a_missing_column_is_named(champion, holdout):
    signature = artifact.signature(champion)
    required = [column.name for column in signature.inputs if not column.optional] or pytest.skip("none is required")

    with pytest.raises(package.BadRows, match=re.escape(required[0])):
        signature.typed(holdout.drop(columns=required[0]))


def test_a_wrong_type_is_named(champion, holdout):
    signature = artifact.signature(champion)
    column = next((each for each in signature.inputs if each.kind != "text"), None) or pytest.skip("all are text")
    wrong = holdout.assign(**{column.name: "rubbish"})

    with pytest.raises(package.BadRows, match=f"{re.escape(column.name)}.*must be a {column.kind}.*'rubbish'"):
        signature.typed(wrong)
