"""Whatever a user did, an upgrade keeps every line of it, and undoing gives back the very same tree."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from upgrading import CLEAN, CONFLICTS, HERE, LEVELS, REFUSED, ROOT, Lab, git, make_template, run, snapshot, write

sys.path.insert(0, str(HERE / "hooks"))
from engine_git import GitError
from outcome import Refusal
from record import read_state
from template import template_commit
from upgrade import upgrade

EXAMPLES = int(
    os.environ.get("LADDER_EXAMPLES", "320")
)  # by command: LADDER_EXAMPLES=1000 pytest tests/test_upgrade_property.py
STARTS = ("D1", "M1", "P1", "M2", "P2")
NEW_PATHS = (
    "mine.txt",
    "probe/model.txt",
    "probe/new.txt",
    "probe/elsewhere.txt",
    "probe/lines.txt/x",
    "src/churn/probe_three.py",
)
NEW_PATHS += ("probe/pipeline.txt", "probe", "ä b/c.txt", "src/core/probe_three.py", "probe/store")

which = st.integers(0, 99)
edit = st.one_of(
    st.tuples(st.just("change"), which, which),
    st.tuples(st.just("insert"), which, which),
    st.tuples(st.just("cut"), which, which),
    st.tuples(st.just("remove"), which, which),
    st.tuples(st.just("rename"), which, st.sampled_from(NEW_PATHS)),
    st.tuples(st.just("move"), which, st.sampled_from(("src/core", "elsewhere", "probe/deep"))),
    st.tuples(st.just("add"), which, st.sampled_from(NEW_PATHS)),
    st.tuples(st.just("ignored"), which, st.sampled_from(NEW_PATHS)),
    st.tuples(st.just("mode"), which, which),
    st.tuples(st.just("binary"), which, which),
    st.tuples(st.just("link"), which, which),
    st.tuples(st.just("crlf"), which, which),
)


class Bench:
    """A small template, one repository for each start, and upgrades run in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        stand_in = folder / "stand-in"
        real = json.loads((HERE / "cookiecutter.json").read_text("utf-8"))
        real["_adds"] = {"maturity_level": {"model-centric": ["models.txt"], "pipeline-centric": ["flows.txt"]}}
        write(
            stand_in,
            {
                "cookiecutter.json": json.dumps(real),
                f"{ROOT}/README.md": "# {{cookiecutter.project_name}}\n\nA text.\n",
                f"{ROOT}/pyproject.toml": "name = 1\n"
                "# {% if cookiecutter.maturity_level != 'data-centric' %}\nmore = 2\n# {% endif %}\n",
                f"{ROOT}/models.txt": "models\n",
                f"{ROOT}/flows.txt": "flows\n",
            },
        )
        make_template(folder / "origin", stand_in)
        self.lab = Lab(folder, stand_in)
        self.starts: dict[str, Path] = {}

    def project(self, start: str) -> Path:
        """The project as it was generated; whatever an earlier example did to it is gone."""
        if start not in self.starts:
            (self.folder / start).mkdir()
            self.starts[start] = self.lab.project(self.folder / start, start)
            git(self.starts[start], "tag", "start")
        project = self.starts[start]
        git(project, "reset", "-q", "--hard", "start")
        git(project, "clean", "-q", "-ffdx")
        (project / ".git/info/exclude").write_text("")
        return project

    def upgrade(self, project: Path, to: str) -> tuple[int, str]:
        """The status of an upgrade, and what it said."""
        copy = self.lab.template(int(to[1]))
        template = json.loads((copy / "cookiecutter.json").read_text("utf-8"))
        state = read_state(project)
        context = template | state["default_context"] | {"maturity_level": LEVELS[to[0]], "_template": str(copy)}
        origin = template_commit(copy) | {"here": str(project)}
        with contextlib.redirect_stdout(io.StringIO()) as said:
            try:
                return upgrade(copy, project, context, origin), said.getvalue()
            except Refusal as refusal:
                return REFUSED, str(refusal)
            except GitError as error:
                return REFUSED, f"git: {error}"


@pytest.fixture(scope="module")
def bench(tmp_path_factory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def apply(project: Path, number: int, kind: str, first: int, second) -> None:
    """One edit of the user's, if it can be made; every line they write is found again by its mark."""
    tracked = sorted(path for path in git(project, "ls-files", "-z").split("\0") if path and (project / path).is_file())
    path = project / tracked[first % len(tracked)]
    mark = f"mine-{number}-{kind}\n".encode()
    if path.name == ".mlops-ladder.json" and kind not in ("add", "ignored", "move"):
        return
    with contextlib.suppress(OSError):  # an edit the file system does not allow is no edit
        lines = path.read_bytes().splitlines(keepends=True)
        at = second % (len(lines) + 1) if isinstance(second, int) else 0
        if kind == "change":
            path.write_bytes(b"".join([*lines[:at], mark, *lines[at + 1 :]]))
        elif kind == "insert":
            path.write_bytes(b"".join([*lines[:at], mark, *lines[at:]]))
        elif kind == "cut":
            path.write_bytes(b"".join(lines[:at]))
        elif kind == "remove":
            path.unlink()
        elif kind == "rename":
            (project / second).parent.mkdir(parents=True, exist_ok=True)
            path.rename(project / second)
        elif kind == "move":
            source = path.parent if path.parent != project else project / "probe"
            (project / second).parent.mkdir(parents=True, exist_ok=True)
            if not (project / second).exists():
                source.rename(project / second)
        elif kind in ("add", "ignored"):
            if (project / second).exists():
                return
            if kind == "ignored":
                with (project / ".git/info/exclude").open("a") as file:
                    file.write(f"/{second}\n")
            write(project, {second: mark})
        elif kind == "mode":
            path.chmod(path.stat().st_mode ^ 0o111)
        elif kind == "binary":
            path.write_bytes(b"\0\1\2" + mark)
        elif kind == "link":
            path.unlink()
            path.symlink_to("README.md")
        elif kind == "crlf":
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def marks(content: bytes) -> set[bytes]:
    """The lines in it that a user wrote."""
    return {line.strip(b"\0\1\2\r\n") for line in content.splitlines() if b"mine-" in line}


def conflicting(project: Path) -> bytes:
    """The user's side of every conflict."""
    stages = [entry.split() for entry in git(project, "ls-files", "-u", "-z").split("\0") if entry]
    blobs = "".join(f"{blob}\n" for _, blob, stage, *_ in stages if stage == "2")
    listed = subprocess.run(["git", "cat-file", "--batch"], cwd=project, input=blobs.encode(), capture_output=True)
    return listed.stdout


@pytest.mark.parametrize("start", STARTS)
def test_nothing_is_lost(bench, start):
    seen: dict[int, int] = {}

    @settings(
        max_examples=EXAMPLES // len(STARTS),
        deadline=None,
        derandomize="LADDER_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(edit, min_size=1, max_size=6), st.sampled_from(("D1", "D2", "M1", "M2", "M3", "P1", "P2", "P3")))
    def holds(edits, to):
        project = bench.project(start)
        for number, (kind, first, second) in enumerate(edits):
            apply(project, number, kind, first, second)
        git(project, "add", "-A")
        run("git", "commit", "-q", "-m", "mine", cwd=project, check=False)
        before = snapshot(project)
        wrote = marks(b"\n".join(content for _, content in before.values()))
        if not (project / ".mlops-ladder.json").exists():
            return
        status, said = bench.upgrade(project, to)
        seen[status] = seen.get(status, 0) + 1
        after = snapshot(project)
        if status == REFUSED:
            assert after == before, said
            assert not said.startswith("git: "), said
            return
        kept = marks(b"\n".join(content for _, content in after.values()) + b"\n" + conflicting(project))
        assert wrote <= kept, (wrote - kept, said)
        unmerged = git(project, "ls-files", "-u")
        assert status == (CONFLICTS if unmerged else CLEAN), said
        ignored = {
            path
            for path in before
            if path not in git(project, "ls-tree", "-r", "--name-only", "-z", "HEAD").split("\0")
        }
        assert all(after[path] == before[path] for path in ignored), said
        assert not git(project, "ls-files", "-o", "--exclude-standard"), said
        git(project, "reset", "-q", "--hard")
        assert snapshot(project) == before, said

    holds()
    assert seen.get(CLEAN, 0) > 5, seen
    print(start, seen)
