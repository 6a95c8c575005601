"""Take snapshots of the sources, and let DVC keep those that are whole."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

from .. import ROOT, Refused, atomic_write, data
from ..datasets import catalog, checks
from . import stages
from .stages import Repo

RAW = ROOT / "data" / "raw"


def take_snapshots() -> list[str]:
    """Read the sources and, if one changed, check all tables; return the names of those that changed."""
    with catalog.fetched() as changed:
        if changed:
            for table in data.TABLES:
                _, aside, why = table.sifted()
                for each in checks.set_aside(table.name, aside, why):
                    print(f"{table.name}: {each.column}: {each.check}, {each.rows:,} rows", flush=True)
    print(f"snapshot: {', '.join(changed) if changed else 'nothing new'}", flush=True)
    return changed


def track_snapshots(repo: Repo) -> None:
    """Let DVC keep every snapshot; one that is damaged is first put back from its cache.

    Raises:
        Refused: If a damaged one is not there; data/raw.dvc stays as it is.
    """
    for path, kept in _suspects():
        if catalog.is_whole(path):
            continue
        name = path.relative_to(ROOT).as_posix()
        if kept is None or not stages.is_intact(kept):
            raise Refused(f"the snapshot {name} is damaged, and DVC's cache has none to replace it: {catalog.ADVICE}")
        with atomic_write(path) as part:
            part.write_bytes(kept.read_bytes())
        print(f"{name} was damaged: put back from DVC's cache", flush=True)
    stages.track(repo)


def _suspects() -> Iterator[tuple[Path, Path | None]]:
    """Yield the snapshots that may not be what data/raw.dvc recorded, with the file in DVC's cache, if it is there.

    Those are whole that have the size of what was recorded, and were last written before that.
    """
    recorded = _recorded()
    for path in sorted(RAW.glob("*/*.parquet")):
        name = path.relative_to(RAW).as_posix()
        if recorded and name not in recorded:  # new: just written from its source
            continue
        kept = stages.cached_file(recorded[name]) if recorded else None
        kept = kept if kept and kept.exists() else None
        facts = path.stat()
        if not kept or facts.st_size != kept.stat().st_size or facts.st_mtime > stages.DATA.stat().st_mtime:
            yield path, kept


def _recorded() -> dict[str, str]:
    """Return the MD5 that data/raw.dvc recorded of each snapshot; nothing if there is no record here."""
    try:
        [output] = yaml.safe_load(stages.DATA.read_text(encoding="utf-8"))["outs"]
        listing = json.loads(stages.cached_file(output["md5"]).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return {}
    return {entry["relpath"]: entry["md5"] for entry in listing}
