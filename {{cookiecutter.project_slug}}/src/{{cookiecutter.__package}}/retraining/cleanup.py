"""Mend DVC's cache, and free what no version and no file of the project needs."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from .. import Refused, first_line
from ..registry.loading import CODE
from ..registry.versions import delete_run, registered_models, run_artifacts, unused_runs, versions
from ..training.workspace import training_lock
from . import stages
from .snapshots import track_snapshots


@dataclass(frozen=True)
class Cleaned:
    """How many files of the cache were broken and freed, runs and folders of code deleted, folders not known."""

    broken: int
    freed: int
    runs: int
    code: int
    unknown: int


def clean() -> Cleaned:
    """Make DVC's cache whole, with what is here and the data of every version; delete all else, runs and code of none.

    Raises:
        Refused: If the cache lacks what it should hold and cannot get it.
    """
    with training_lock():
        broken = [file for file in stages.cached_files() if not stages.is_intact(file)]
        for file in broken:
            file.unlink()
        try:
            with stages.repository() as repo:
                track_snapshots(repo)
                stages.refill_cache(repo)
        except Exception as error:  # what is broken here may be missing everywhere
            raise Refused(f"DVC's cache lacks what it should hold: {first_line(error)}") from error
        needed, cached = needed_names(), stages.cached_files()
        unknown = {name for name in needed if name.endswith(".dir")} - {stages.cached_name(file) for file in cached}
        freed = [] if unknown else [file for file in cached if stages.cached_name(file) not in needed]
        for file in freed:
            file.unlink()
        runs = unused_runs()
        for run in runs:
            delete_run(run)
        code = unused_code()
        for folder in code:
            gone = folder.rename(folder.with_name(f".{folder.name}"))  # half a folder never has a version's name
            shutil.rmtree(gone)
    return Cleaned(len(broken), len(freed), len(runs), len(code), len(unknown))


def unused_code() -> list[Path]:
    """Return the folders with the code of commits that no version was made at."""
    commits = {version.tags["commit"][:12] for model in registered_models() for version in versions(model)}
    return [folder for folder in CODE.glob("*_*") if folder.name.partition("_")[0] not in commits]


def needed_names() -> set[str]:
    """Return the names in DVC's cache that the lock files here, or the data of any version, refer to."""
    needed = stages.used_names([stages.DATA, stages.LOCK])
    for model in registered_models():
        for version in versions(model):
            with run_artifacts(model, version.number) as files:
                needed |= stages.used_names([files / "raw.dvc", *files.glob("refit/*/raw.dvc")])
    return needed
