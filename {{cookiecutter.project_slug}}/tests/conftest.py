"""All tests run on a copy of the project, so that none touches its versions, its data or its locks."""

import os
import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

import pytest

PACKAGE = "{{ cookiecutter.__package }}"
ROOT = Path(__file__).resolve().parents[1]
LEFT = (".venv", ".git", ".dvc-storage", ".prefect", "artifacts", "reports", "restored", "mlruns", "mlflow.db*")
COPY = Path(tempfile.mkdtemp(prefix="tests of ")) / "project"
PLAIN = f"-c user.name=t -c user.email=t@t -c commit.gpgSign=false -c core.hooksPath={os.devnull}".split()


def left(folder, names):
    """What is not copied: what machines made, most of it large."""
    patterns = {ROOT: LEFT, ROOT / ".dvc": ("cache", "tmp")}.get(Path(folder), ())
    return shutil.ignore_patterns("__pycache__", *patterns)(folder, names)


shutil.copytree(ROOT, COPY, ignore=left)
for command in (["init", "-q"], ["add", "-A"], [*PLAIN, "commit", "-qm", "copy"]):
    subprocess.run(["git", *command], cwd=COPY, check=True)
sys.path.insert(0, str(COPY / "src"))
import_module(PACKAGE)  # before any test imports NumPy: the package says how many threads that takes


def pytest_unconfigure():
    shutil.rmtree(COPY.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def project():
    """The copy's folder, with its snapshots taken."""
    catalog = import_module(f"{PACKAGE}.catalog")
    if not catalog.complete():
        with catalog.fetched():
            pass
    return COPY


@pytest.fixture(scope="session")
def trained(project):
    """The copy's folder once every model is trained and has a champion."""
    models, registry = import_module(f"{PACKAGE}.models"), import_module(f"{PACKAGE}.registry")
    import_module(f"{PACKAGE}.train").main([])
    for model in models.chosen([]):
        registry.promote(model.name, registry.versions(model.name)[0].number, "tests")
    return project
