"""An upgrade that is killed, finds no room or may not write: nothing is lost, and one command brings all back."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from upgrading import CLEAN, LEVELS, REFUSED, Lab, commit, git, line, run, snapshot, write

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "hooks"))
import apply
import upgrade
from engine_git import GitError
from outcome import Refusal
from record import read_state
from template import template_commit

MOMENTS = int(os.environ.get("LADDER_KILLS", "24"))


@pytest.fixture(scope="session")
def lab(tmp_path_factory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def project(lab, tmp_path) -> Path:
    """A project with edits of its own and git-ignored data."""
    project = lab.project(tmp_path, "M1")
    write(project, {"probe/lines.txt": "".join(line(3, "my own line")), "mine/notes.txt": "mine\n"})
    commit(project)
    write(project, {".env": "TOKEN=1\n", "data/raw/rows.parquet": "rows\n"})
    return project


def command(lab: Lab, to: str) -> list[str]:
    """What a person types."""
    template = str(lab.template(int(to[1])))
    return [sys.executable, "-m", "cookiecutter", template, "--no-input", "-f", f"maturity_level={LEVELS[to[0]]}"]


def test_killed_at_any_moment(lab, project, tmp_path):
    before, states = snapshot(project), set()
    environment = os.environ | {"PWD": str(project), "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    started = time.monotonic()
    subprocess.run(command(lab, "P2"), cwd=project, env=environment, capture_output=True, check=True)
    whole = time.monotonic() - started
    git(project, "reset", "-q", "--hard")
    for moment in range(MOMENTS):
        upgrade = subprocess.Popen(
            command(lab, "P2"),
            cwd=project,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(whole * (moment + random.random()) / MOMENTS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(upgrade.pid, signal.SIGKILL)  # it, its hook and its git
        upgrade.wait()
        states.add(len(git(project, "status", "--porcelain").splitlines()))
        (project / ".git/index.lock").unlink(missing_ok=True)
        git(project, "reset", "-q", "--hard")
        assert snapshot(project) == before
        assert not git(project, "fsck", "--no-dangling")
    assert lab.upgrade(project, "P2").status == CLEAN


def test_interrupted(lab, project, monkeypatch):
    before = snapshot(project)
    copy = lab.template(2)
    template = json.loads((copy / "cookiecutter.json").read_text())
    context = template | read_state(project)["default_context"] | {"_template": str(copy)}
    origin = template_commit(copy) | {"here": str(project)}

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(apply, "check_late_saves", interrupt)  # all files are in their new places
    with pytest.raises(Refusal, match="interrupted"):
        upgrade.upgrade(copy, project, context, origin)
    assert snapshot(project) == before
    assert not git(project, "status", "--porcelain")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 9 MB."""
    place = tmp_path / "disk"
    place.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=9m", "tmpfs", str(place)], capture_output=True
        ).returncode
    ):
        pytest.skip("no small file system can be mounted here (it takes root on Linux)")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("left", [0, 8192, 40_000, 120_000])
def test_a_full_disk(lab, project, small_disk, left):
    there = small_disk / "churn"
    git(project, "gc", "-q")
    shutil.copytree(project, there, symlinks=True)
    git(there, "status")
    before = snapshot(there)
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * max(0, shutil.disk_usage(small_disk).free - left))
    outcome = lab.upgrade(there, "P2")
    outcome.check(REFUSED)
    assert "too full" in outcome.error
    filler.unlink()
    assert not git(there, "status", "--porcelain")
    assert snapshot(there) == before
    lab.upgrade(there, "P2").check(CLEAN)


@pytest.mark.parametrize("left", [0, 10_000, 30_000, 60_000, 100_000])
def test_a_disk_that_fills_up_half_way(lab, project, small_disk, monkeypatch, left):
    there = small_disk / "churn"
    git(project, "gc", "-q")
    shutil.copytree(project, there, symlinks=True)
    git(there, "status")
    before = snapshot(there)
    copy = lab.template(2)
    template = json.loads((copy / "cookiecutter.json").read_text())
    context = template | read_state(there)["default_context"] | {"maturity_level": LEVELS["P"]}
    origin = template_commit(copy) | {"here": str(there)}
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * max(0, shutil.disk_usage(small_disk).free - left))
    monkeypatch.setattr(upgrade, "missing_space", lambda *_: None)  # as if another program took the room just now
    with pytest.raises((Refusal, GitError, OSError)) as stopped:
        upgrade.upgrade(copy, there, context | {"_template": str(copy)}, origin)
    filler.unlink()
    if "reset --hard" in str(stopped.value):
        git(there, "reset", "-q", "--hard")
    assert snapshot(there) == before, stopped.value
    assert not git(there, "status", "--porcelain"), stopped.value


@pytest.mark.parametrize("path", ["probe/lines.txt", "probe", "src/churn"])
def test_what_may_not_be_written(lab, project, path):
    target = project / path
    if os.geteuid():
        mode = target.stat().st_mode
        target.chmod(mode & ~0o222)
        back = lambda: target.chmod(mode)  # noqa: E731
    else:  # root may write everything but what is immutable
        if not shutil.which("chattr") or run("chattr", "+i", str(target), cwd=project, check=False).returncode:
            pytest.skip("root may write everything here, and chattr does not work")
        back = lambda: run("chattr", "-i", str(target), cwd=project)  # noqa: E731
    try:
        outcome = lab.upgrade(project, "P2")
        outcome.check(REFUSED)
        assert "cannot be written to" in outcome.error
        assert not git(project, "status", "--porcelain")
    finally:
        back()
    lab.upgrade(project, "P2").check(CLEAN)
