"""What must be recomputed, and where its bytes are kept: the only module that imports DVC."""

import hashlib
import json
import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage.serialize import to_single_stage_lockfile

from .. import ROOT, Refused, atomic_write, first_line

if TYPE_CHECKING:
    from dvc.stage import PipelineStage

    from ..training.contract import Model

STAGES = ("split", "fit", "score")
LOCK, DATA = ROOT / "dvc.lock", ROOT / "data" / "raw.dvc"  # the files that DVC writes
UNPUSHED = ROOT / ".dvc" / "unpushed"  # exists while the remote may lack something
CACHE = ROOT / ".dvc" / "cache" / "files" / "md5"

logging.getLogger("dvc").setLevel(logging.CRITICAL)  # DVC raises what it cannot do; it need not log it too


class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Write YAML as DVC does."""


Dumper.add_representer(OrderedDict, Dumper.represent_dict)


@contextmanager
def repository() -> Iterator[Repo]:
    """Yield DVC's repository; inside the block the working directory is the project's, as DVC expects."""
    with chdir(ROOT), Repo() as repo:
        yield repo


def run_stage(name: str, model: "Model") -> None:
    """Run one stage, which writes its files into the model's workspace."""
    from ..training import evaluate, train  # a retrain with nothing to do needs neither

    {"split": train.split, "fit": train.fit, "score": evaluate.score}[name](model)


def outdated(repo: Repo) -> set[str]:
    """Return what DVC finds changed: stages by their address, and data/raw.dvc.

    Lock files that cannot be read, such as after a kill of DVC itself, are deleted, and so made anew.
    """
    try:
        return set(repo.status())
    except Exception as error:  # half a lock file may raise anything
        aside = {path: path.read_bytes() for path in (LOCK, DATA) if path.exists()}
        for path in aside:
            path.unlink()
        try:
            found = set(repo.status())
        except Exception:
            for path, content in aside.items():
                path.write_bytes(content)
            raise Refused(f"DVC cannot read the project: {first_line(error)}") from error
        print(f"{' and '.join(path.name for path in aside)} could not be read: made again", flush=True)
        return found


def track(repo: Repo) -> None:
    """Let DVC keep the bytes of every snapshot."""
    repo.add("data/raw")


def push(repo: Repo) -> None:
    """Copy to the remote what a restore elsewhere needs; a remote that does not answer stops nothing."""
    try:
        repo.push()
        UNPUSHED.unlink(missing_ok=True)
    except Exception as error:  # each kind of remote has errors of its own
        reason = f"{type(error).__name__}: {first_line(error)}; if the cache is broken, `uv run just clean` mends it"
        print(f"not pushed, the next retrain tries again ({reason})", flush=True)


def recompute(model: "Model", stale: set[str], repo: Repo) -> None:
    """Run the stages of a model whose inputs or outputs changed, and those that follow; record them in dvc.lock."""
    ran = []
    for name in STAGES:
        target = f"{name}@{model.name}"
        if name in stale or (ran and repo.status([target])):
            UNPUSHED.touch()
            print(f"{model.name}: {name}", flush=True)
            run_stage(name, model)
            ran.append(target)
    try:
        _commit(ran, repo)
    except DvcException as error:
        raise Refused(f"DVC cannot keep what {model.name} made: {first_line(error)}") from error


def locked_stages() -> dict[str, Any]:
    """Return what dvc.lock says of each stage, by its address."""
    return _read_lock()["stages"]


def checked_out(project: Path) -> str:
    """Put data/raw of another project folder in place, by the cache and remotes of this one; return why not, if so."""
    with Repo(str(ROOT)) as here:
        cache, core, remotes = here.cache.local.path, dict(here.config["core"]), dict(here.config["remote"])
    with Repo(str(project)) as repo, repo.config.edit("local") as config:
        config["cache"] = {"dir": cache}
        config["core"] = {"remote": core["remote"]} if "remote" in core else {}
        config["remote"] = {name: dict(remote) for name, remote in remotes.items()}
    with Repo(str(project)) as repo:
        target = str(project / "data" / "raw.dvc")
        try:
            with suppress(DvcException):
                repo.checkout([target], force=True)
                return ""
            repo.pull([target], force=True)
        except Exception as error:  # each kind of remote has errors of its own
            return first_line(error)
    return ""


def refill_cache(repo: Repo) -> None:
    """Copy into DVC's cache the outputs of every stage that is up to date."""
    stale = repo.status()
    for stage in repo.index.stages:
        if stage.addressing not in stale:
            repo.commit(stage.addressing, force=True)


def cached_files() -> list[Path]:
    """Return the files of DVC's cache."""
    return list(CACHE.glob("??/*"))


def cached_name(file: Path) -> str:
    """Return the name that a file of the cache has in lock files: its MD5, with .dir for a folder's listing."""
    return file.parent.name + file.name


def cached_file(name: str) -> Path:
    """Return where DVC's cache has, or would have, the file of this name in lock files."""
    return CACHE / name[:2] / name[2:]


def is_intact(file: Path) -> bool:
    """Return whether a file of the cache has the content that its name says."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "md5").hexdigest() == cached_name(file).removesuffix(".dir")


def used_names(locks: list[Path]) -> set[str]:
    """Return the names in DVC's cache of all outputs in these lock files, those inside folders included."""
    found = set()
    for path in locks:
        if path.exists():
            facts = leaves(yaml.safe_load(path.read_text(encoding="utf-8")))
            found |= {value for name, value in facts.items() if "outs." in name and name.endswith("md5")}
    for digest in [each for each in found if each.endswith(".dir")]:
        listing = cached_file(digest)
        if listing.exists():
            found |= {entry["md5"] for entry in json.loads(listing.read_text(encoding="utf-8"))}
    return found


def leaves(content: Any, path: str = "") -> dict[str, Any]:
    """Return every leaf of nested lists and dictionaries by its path, parts joined by dots."""
    if not isinstance(content, dict | list):
        return {path: content}
    items = content.items() if isinstance(content, dict) else enumerate(content)
    return {leaf: value for key, each in items for leaf, value in leaves(each, f"{path}.{key}".strip(".")).items()}


def _commit(targets: list[str], repo: Repo) -> None:
    """Copy what stages made into DVC's cache, and write dvc.lock."""
    with repo.lock:
        made = [each for each in repo.index.stages if each.addressing in targets]
        for each in made:
            each.save()
            each.commit()
        if made:
            _write_lock(made)


def _write_lock(made: list["PipelineStage"]) -> None:
    """Write what these stages read and made into dvc.lock, in one step.

    DVC's own writer takes a quarter of a second where twenty models are in the file, and a kill can cut it off.
    """
    known = _read_lock() if LOCK.exists() else {"schema": "2.0", "stages": {}}
    known["stages"] |= {each.name: to_single_stage_lockfile(each) for each in made}
    with atomic_write(LOCK) as path:
        path.write_text(yaml.dump(known, Dumper=Dumper, sort_keys=False), encoding="utf-8", newline="\n")


def _read_lock() -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(LOCK.read_text(encoding="utf-8"), loader)  # noqa: S506 - a safe loader
