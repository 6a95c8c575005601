"""What the project is made of now, as git and the locks say it: a version remembers it, and a restore puts it back."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from hashlib import sha256
from tempfile import TemporaryDirectory

from . import ROOT, Refused

PATCH = "tree.patch"  # of a dirty tree, kept with the run
LOCKS = {  # what a run keeps of the project as it was, and where in a project it belongs
    "params.yaml": "params.yaml",
    "catalog.lock": "data/catalog.lock",
    "raw.dvc": "data/raw.dvc",
    "dvc.lock": "dvc.lock",
    "uv.lock": "uv.lock",
}
PLAIN = ["--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]  # whatever the user's git is set to
CODE = ["src", "params.yaml", "pyproject.toml", "uv.lock", "dvc.yaml", "data/catalog.yaml", ":(glob)**/*.sql"]


@dataclass(frozen=True)
class State:
    """What a model is made of: tags of its version, and files that put it back, by the names a run keeps them under."""

    tags: dict[str, str]
    files: dict[str, bytes]


def now() -> State:
    """As it is now: to be asked before a model is made, because files may change while it is."""
    places = {name: ROOT / place for name, place in LOCKS.items()}
    files = {name: path.read_bytes() for name, path in places.items() if path.exists()}
    found = tags()
    if found["dirty"] == "true" and found["commit"] != "none":
        files[PATCH] = patch()
    return State(found, files)


def tags() -> dict[str, str]:
    """What code, data and environment are now: commit, whether files differ from it, hashes of the locks."""
    from . import catalog  # a rollback does not wait for it

    lock = ROOT / "uv.lock"
    return {
        "commit": commit() or "none",
        "dirty": str(bool(uncommitted())).lower(),
        "data": json.dumps({name: entry["sha256"] for name, entry in catalog.locked().items()}),
        "uv.lock": sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none",
        "python": sys.version.split()[0],
    }


def commit() -> str | None:
    """The commit that is checked out; None where there is none, or no repository."""
    try:
        asked = subprocess.run(["git", "rev-parse", "--verify", "HEAD"], cwd=ROOT, capture_output=True, text=True)  # noqa: S607
    except FileNotFoundError:  # no git here
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def uncommitted() -> list[str]:
    """The files that make a model and are not as the commit has them."""
    if not commit():
        return ["everything: there is no commit"]
    return [
        line[3:] for line in _git("status", "--porcelain", "--untracked-files=all", "--", *CODE).decode().splitlines()
    ]


def patch() -> bytes:
    """What leads from the commit to the files as they are, new ones too; git's own index stays as it is."""
    with TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        _git("read-tree", "HEAD", **index)
        there = [each for each in CODE if _git("ls-files", "--cached", "--others", "--exclude-standard", "--", each)]
        _git("add", "-A", "--", *there, **index)
        return _git("diff", "--cached", "--binary", "--full-index", *PLAIN, "HEAD", **index)


def _git(*arguments: str, **environment: str) -> bytes:
    """What git says; raises Refused with its reason."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, env=os.environ | environment, capture_output=True)  # noqa: S607
    if done.returncode:
        raise Refused(f"git {arguments[0]} fails: {done.stderr.decode(errors='replace').strip().splitlines()[-1]}")
    return done.stdout
