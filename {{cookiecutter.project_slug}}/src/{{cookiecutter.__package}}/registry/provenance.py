"""What the project is made of now, by git and the lock files: a version keeps it, and a restore puts it back."""

import json
import sys
from dataclasses import dataclass
from hashlib import sha256
from tempfile import TemporaryDirectory

from .. import ROOT, Refused
from ..datasets.catalog import locked
from ..training.params import module_name
from .git import git
from .model_code import code_hash

PATCH = "tree.patch"  # the uncommitted changes, kept with the run
LOCKS = {  # files a run keeps of the project, and where they belong in it
    "params.yaml": "params.yaml",
    "catalog.lock": "data/catalog.lock",
    "raw.dvc": "data/raw.dvc",
    "dvc.lock": "dvc.lock",
    "uv.lock": "uv.lock",
}
PLAIN = ["--no-ext-diff", "--no-color", "--src-prefix=a/", "--dst-prefix=b/"]  # as is diff-index: no user's settings
CODE = ["src", "params.yaml", "pyproject.toml", "uv.lock", "dvc.yaml", "data/catalog.yaml", ":(glob)**/*.sql"]


@dataclass(frozen=True)
class Provenance:
    """What a model is made of: the tags of its version, and files that restore it by their names in the run."""

    tags: dict[str, str]
    files: dict[str, bytes]


def current(model: str, preparation: str = "") -> Provenance:
    """Return the provenance of a model made now; to be called before the fit, since files may change meanwhile.

    Args:
        model: Its name.
        preparation: What prepares its requests, as in "preparation:flights", if anything does.
    """
    paths = {name: ROOT / path for name, path in LOCKS.items()}
    files = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    head, changed, module = commit(), uncommitted_files(), module_name(model)
    tags = {
        "commit": head or "none",
        "dirty": str(bool(changed)).lower(),
        "module": module,
        "preparation": preparation,
        "code": code_hash(module, preparation=preparation),
        "data": json.dumps({name: entry["sha256"] for name, entry in locked().items()}),
        "uv.lock": environment_hash(),
        "python": sys.version.split()[0],
    }
    if head and changed:
        files[PATCH] = patch()
        tags["patch"] = sha256(files[PATCH]).hexdigest()
    return Provenance(tags, files)


def environment_hash() -> str:
    """Return the hash of uv.lock, or "none"."""
    lock = ROOT / "uv.lock"
    return sha256(lock.read_bytes()).hexdigest() if lock.exists() else "none"


def commit() -> str | None:
    """Return the commit that is checked out; None where there is none, or no repository, or no git."""
    try:
        return git("rev-parse", "--verify", "HEAD").decode().strip()
    except Refused:
        return None


def uncommitted_files() -> list[str]:
    """Return the files that make a model and differ from the commit."""
    if not commit():
        return ["everything: there is no commit"]
    changed = git("status", "--porcelain", "--untracked-files=all", "--", *CODE).decode(errors="replace")
    return [line[3:] for line in changed.splitlines()]


def patch() -> bytes:
    """Return the difference between the commit and the files, new ones included; leave git's own index as it is."""
    with TemporaryDirectory() as scratch:
        index = {"GIT_INDEX_FILE": f"{scratch}/index"}
        git("read-tree", "HEAD", **index)
        there = [each for each in CODE if git("ls-files", "--cached", "--others", "--exclude-standard", "--", each)]
        git("add", "-A", "--", *there, **index)
        return git("diff-index", "-p", "--cached", "--binary", "--full-index", *PLAIN, "HEAD", **index)
