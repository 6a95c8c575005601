"""What a version serves with: its refit on all rows, brought up to date when newer rows arrive."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import ROOT, Refused
from ..datasets.catalog import content_hash, locked
from ..training import artifact, refit
from ..training.evaluate import is_finite
from ..training.modules import optional
from . import provenance
from .loading import LoadedVersion, load_served, running_code
from .settings import PROJECT
from .versions import (
    FITTED,
    REFIT,
    add_files,
    champion_version,
    fingerprint,
    get_version,
    refit_name,
    served_folder,
    set_tags,
)

if TYPE_CHECKING:
    from ..training.contract import Model

JUMP = 5.0  # times by which newer rows may change the forecasts' median size, up or down


def add_refit(model: "Model", number: str) -> str:
    """Fit a version again on all rows and keep the result with it, as what serves; return in words what came of it.

    It must be the version that is in the model's workspace. Else, or where the refit is not close to it, the version
    serves as it was scored.
    """
    version = get_version(model.name, number)
    tags = version.tags
    if not refit.is_refitted(model) or tags.get(REFIT) or tags.get("learned_after"):
        return ""
    try:
        if fingerprint(model) != tags["fingerprint"] or running_code(version.module, version.preparation) != tags.get(
            "code"
        ):
            raise Refused("it is not what was trained here last")
        refit.refit(model)
    except (OSError, Refused) as reason:
        return f"without the held-out rows, which no refit could add: {reason}"
    rows = json.loads(model.files.table_facts.read_text(encoding="utf-8"))["sha256"]
    set_tags(model.name, number, {FITTED: _record(model, number, model.files.refit, rows)})
    return "fitted again on all rows"


def update_champion(model: "Model") -> str:
    """Bring what the champion keeps of the rows up to date with the newest; return in words what came of it.

    Only models with `update` keep anything, such as the last values of each series; others must be fitted again.
    """
    if not optional(model.module, "update") or not (version := champion_version(model.name)):
        return ""
    try:
        rows = model.rows()
        if version.tags.get("refit_rows") == (digest := content_hash(rows)):
            return ""
        served = load_served(model.name, version.number)
        fitted = load_served(model.name, version.number, FITTED)  # so that a file depends on its rows only
        if not (update := optional(served.module, "update")):
            return ""
        newer = replace(fitted, estimator=update(fitted.estimator, rows, model.table))
        _check_forecasts(served, newer, rows.iloc[-1].to_dict())
    except Refused as reason:
        return f"version {version.number} serves on with the rows it knows: {reason}"
    with TemporaryDirectory() as scratch:
        packages = (newer.module.__name__.partition(".")[0], PROJECT)
        refit.save_update(newer.signature, newer.module, newer.estimator, Path(scratch), newer.trusted, packages)
        _record(model, version.number, Path(scratch), digest)
    return f"version {version.number} knows the newest rows"


def mend_refit(model: "Model", number: str) -> str:
    """Let a version whose refit was damaged serve with a new one, or as it was judged; return that in words, if so."""
    try:
        served_folder(model.name, number)
        return ""
    except Refused:
        set_tags(model.name, number, {REFIT: "", FITTED: "", "refit_rows": ""})
        return (
            f"what version {number} serves with was damaged; it serves {add_refit(model, number) or 'as it was judged'}"
        )


def _record(model: "Model", number: str, folder: Path, rows: str) -> str:
    """Keep a refit on rows of this hash with its version, let the version serve with it, and return its SHA-256."""
    digest = artifact.signature(folder).sha256
    kept = [folder / artifact.FILE, folder / artifact.SIGNATURE, ROOT / provenance.LOCKS["raw.dvc"]]
    kept += [model.files.set_aside]
    kept += sorted(folder.glob(artifact.LOOKUP.format("*")))
    add_files(model.name, number, [file for file in kept if file.exists()], refit_name(digest))
    data = {name: entry["sha256"] for name, entry in locked().items()}
    set_tags(model.name, number, {REFIT: digest, "refit_data": json.dumps(data), "refit_rows": rows})
    return digest


def _check_forecasts(served: LoadedVersion, newer: LoadedVersion, known: dict[str, Any]) -> None:
    """Raise Refused if what the updated model forecasts is not finite, or far from what it was in size.

    Further columns that the model needs are taken as they are `known` of one row, for both.
    """
    sizes = []
    for each in (served, newer):
        found = each.predict(each.future_requests(**known))
        if not is_finite(found).all():
            raise Refused("the newest rows make its forecasts missing or infinite")
        sizes.append(float(np.median(np.abs(found["prediction"]))))
    before, after = sizes
    if before > 0 and not 1 / JUMP <= after / before <= JUMP:
        raise Refused(f"the newest rows make its forecasts {after / before:.2g} times as large")
