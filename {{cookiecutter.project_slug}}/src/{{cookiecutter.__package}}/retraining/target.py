"""Whether the target's level or scale jumped since an earlier version: a wrong unit is named as such."""

import json

import numpy as np
import pandas as pd

from ..datasets.table import key_hashes
from ..registry.versions import Version, run_artifacts, versions
from ..training.contract import Model
from ..training.train import BLOCK, target_levels
from .conditions import Condition
from .limits import Limits

NAME = "the target as before"


def steady_target(model: Model, number: str, served: str | None, allowed: Limits) -> list[Condition]:
    """Require that the target of the rows that came since an earlier version is of that version's level and scale.

    Args:
        model: With its rows in the workspace.
        number: The challenger's.
        served: The champion's; without one the newest other version counts whose own target had not jumped.
        allowed: With the largest change allowed, in times.

    Returns:
        The condition; none if it is switched off, the target is no measurement, or no version has recorded it.
    """
    earlier = _reference(model, number, served)
    if allowed.max_target_change is None or earlier is None:
        return []
    with run_artifacts(model.name, earlier) as files:
        path = files / model.files.table_facts.name
        facts = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if facts.get("target_levels") is None or facts["target"] != model.table.target:  # recorded since 0.4
            return []
        known = [np.load(files / each.name) for each in (model.files.train_keys, model.files.holdout_keys)]
    columns = [*model.table.keys, model.table.target]
    rows = pd.concat([pd.read_parquet(path, columns=columns) for path in (model.files.train, model.files.holdout)])
    new = rows[~np.isin(key_hashes(model.table, rows), np.concatenate(known))]
    samples = {f"all {len(rows)} rows": rows, **({f"{len(new)} new rows": new} if len(new) >= BLOCK else {})}
    jumps = [
        f"{model.table.target} is {words} than in the rows of version {earlier}, in {name}"
        for name, sample in samples.items()
        if (words := jump(sample[model.table.target].to_numpy(float), facts["target_levels"], allowed))
    ]
    found, wanted = jumps[-1] if jumps else "no jump", f"at most {allowed.max_target_change:g} times, or spreads away"
    return [Condition(NAME, not jumps, found, wanted)]


def jump(values: np.ndarray, before: dict, allowed: Limits) -> str:
    """Return how the values differ from all blocks of earlier ones, in words; empty if by no more than is allowed.

    Args:
        values: The target, (rows,).
        before: The `target_levels` of the earlier rows.
        allowed: With `max_target_change`.
    """
    limit, now = allowed.max_target_change, target_levels(values, block=len(values))
    size, (smallest, largest) = now["size"][0], before["size"]
    middle, (lowest, highest) = now["middle"][0], before["middle"]
    if size > limit * largest > 0:
        return f"{size / largest:.3g} times larger"
    if size * limit < smallest:
        return f"{smallest / size:.3g} times smaller" if size else "0, and so infinitely smaller"
    away = max(lowest - middle, middle - highest, 0.0)
    if away > limit * before["spread"] > 0:
        return f"{away / before['spread']:.3g} times its spread {'higher' if middle > highest else 'lower'}"
    return ""


def _reference(model: Model, number: str, served: str | None) -> str | None:
    """Return the version with whose rows to compare, if there is one."""

    def counts(version: Version) -> bool:
        jumped = NAME in version.tags.get("reason", "")
        return version.number != number and not jumped and not version.out_of_service

    return served or next((each.number for each in versions(model.name) if counts(each)), None)
