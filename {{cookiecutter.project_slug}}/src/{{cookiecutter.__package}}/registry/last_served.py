"""What served last on this machine, noted beside its files: for a start at which the registry cannot be asked."""

import json
import logging
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from .. import atomic_write, first_line
from ..training import artifact
from ..training.workspace import Workspace
from .loading import LoadedVersion, load_from
from .versions import REFIT, Version, served_folder

log = logging.getLogger(__name__)

NOTE = "served.json"


def note_served(model: str, version: Version) -> None:
    """Note the version that serves, and where its files are."""
    facts = asdict(version) | {"made": version.made.isoformat()}
    content = {"version": facts, "folder": str(served_folder(model, version.number))}
    with atomic_write(_note(model)) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def forget_served(model: str) -> None:
    """Forget it: it was withdrawn."""
    _note(model).unlink(missing_ok=True)


def load_last_served(model: str) -> LoadedVersion | None:
    """Return what served last, whole and verified on its examples; None if nothing did, or it is not here any more."""
    try:
        content = json.loads(_note(model).read_text(encoding="utf-8"))
        facts, folder = content["version"], Path(content["folder"])
        version = Version(**(facts | {"made": datetime.fromisoformat(facts["made"])}))
        if not artifact.holds(folder, version.tags.get(REFIT) or version.tags["sha256"]):
            return None
        found = load_from(model, version, folder)
        found.verify_examples()
    except Exception as error:  # whatever is wrong with the copy, the registry's own trouble is what counts
        log.warning("%s: what served last cannot be loaded: %s", model, first_line(error))
        return None
    return found


def _note(model: str) -> Path:
    return Workspace(model).folder / NOTE
