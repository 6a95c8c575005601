"""All tests run on a copy of the project, so that none touches its versions, its data or its locks."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
from click.testing import CliRunner

PACKAGE = "{{ cookiecutter.__package }}"
ROOT = Path(__file__).resolve().parents[1]
NOT_COPIED = (".venv", ".git", ".dvc-storage", ".prefect", "artifacts", "reports", "restored", "mlruns", "mlflow.db*")
COPY = Path(tempfile.mkdtemp(prefix="tests of ")) / "project"
PLAIN = f"-c user.name=t -c user.email=t@t -c commit.gpgSign=false -c core.hooksPath={os.devnull}".split()


def ignored(folder, names):
    """Return which files are not copied: those that commands made."""
    patterns = {ROOT: NOT_COPIED, ROOT / ".dvc": ("cache", "tmp")}.get(Path(folder), ())
    return shutil.ignore_patterns("__pycache__", *patterns)(folder, names)


shutil.copytree(ROOT, COPY, ignore=ignored)
for arguments in (["init", "-q"], ["add", "-A"], [*PLAIN, "commit", "-qm", "copy"]):
    subprocess.run(["git", *arguments], cwd=COPY, check=True)
sys.path.insert(0, str(COPY / "src"))
import_module(PACKAGE)  # before any test imports NumPy: the package sets how many threads that takes
MODELS = list(import_module(f"{PACKAGE}.training.params").model_blocks([]))


def pytest_unconfigure():
    shutil.rmtree(COPY.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def project():
    """The copy's folder, with its snapshots taken."""
    catalog = import_module(f"{PACKAGE}.datasets.catalog")
    if not catalog.complete():
        if missing := catalog.missing_variables():
            pytest.skip(missing)
        with catalog.fetched():
            pass
    return COPY


@pytest.fixture(scope="session")
def command(project):
    """A function that runs a command of the project and returns what it printed, errors included."""
    main = import_module(f"{PACKAGE}.__main__").main

    def run(*arguments, status=0):
        done = CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
        assert done.exit_code == status, done.output
        return done.output

    return run


@pytest.fixture(scope="session")
def trained(project, command):
    """The copy's folder once every model is trained and has a champion."""
    versions = import_module(f"{PACKAGE}.registry.versions")
    command("train")
    for name in MODELS:
        command("promote", versions.versions(name)[0].number, name)
    return project


@pytest.fixture(params=MODELS)
def model(request, trained):
    """Each model of params.yaml, trained."""
    return import_module(f"{PACKAGE}.training.contract").load_model(request.param)


@pytest.fixture
def champion(model):
    """The folder of what serves."""
    versions = import_module(f"{PACKAGE}.registry.versions")
    return versions.served_folder(model.name, versions.champion(model.name))


@pytest.fixture
def holdout(model):
    """The held-out rows, as the model would have been asked for them."""
    import pandas as pd

    return pd.read_parquet(model.files.holdout)
