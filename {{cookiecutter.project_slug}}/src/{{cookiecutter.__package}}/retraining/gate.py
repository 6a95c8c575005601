"""Whether a challenger may serve: it is compared with the champion on held-out rows that neither has learned from."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ..datasets.table import key_hashes
from ..registry.versions import champion, run_artifacts
from ..training import evaluate
from ..training.contract import Model
from ..training.statistics import interval, resampling_units
from ..training.workspace import read_rows
from .conditions import (
    COMPARED,
    SMALL,
    Condition,
    Contender,
    by_itself,
    compared,
    compatible_answers,
    compatible_inputs,
    deployable,
    enough_rows,
    large_slices,
    not_loaded,
)
from .latency import latency
from .leakage import check_leakage
from .limits import Limits, limits

SAME = 1e-9  # relative difference of losses that counts as none


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, why in words, and every condition."""

    promote: bool
    reason: str
    conditions: list[Condition]

    @property
    def final(self) -> bool:
        """Whether judging the same version again would give the same verdict."""
        return not any(each.retryable and not each.holds for each in self.conditions)

    @property
    def gain(self) -> str:
        """The gain over the champion on the same rows, with its interval; empty if there was no comparison."""
        found = [each.found for each in self.conditions if each.name in COMPARED]
        return found[0].partition(";")[0] if found else ""

    def json(self, sha256: str) -> str:
        """Return the verdict on the model file with this hash, as JSON."""
        return json.dumps(asdict(self) | {"sha256": sha256}, indent=1)


def judge(model: Model, number: str, *, unattended: bool = False) -> Verdict:
    """Return the verdict on a version that was made from what is in the model's workspace.

    Args:
        model: With its limits in `gate`.
        number: The challenger's.
        unattended: Whether nobody watches: then its code must be committed.
    """
    allowed, rows = limits(model), pd.read_parquet(model.files.holdout)
    conditions = [enough_rows(model, rows), *deployable(model, number, unattended)]
    if not conditions[0].holds:
        return _verdict(conditions, "")
    try:
        challenger = Contender.on(model, number, rows)
    except Exception as error:  # a file may be anything, and a model's code may raise anything
        return _verdict([*conditions, not_loaded("the challenger", error, "it loads and predicts")], "")
    conditions += [
        *by_itself(model, challenger, allowed),
        check_leakage(model.table, challenger.version.signature.inputs, read_rows(model.files.train), allowed),
    ]
    before = champion(model.name)
    if before is None:
        conditions += latency(challenger, None, rows, allowed)
        return _verdict(conditions, "the first champion: better than the naive baseline")
    try:
        served = Contender.on(model, before, rows)
    except Exception as error:
        wanted = f"a champion to compare with: roll back, or promote {number} by hand"
        return _verdict([*conditions, not_loaded("the champion", error, wanted)], "")
    same_inputs = served.version.signature.inputs == challenger.version.signature.inputs
    if same_inputs and np.allclose(served.losses, challenger.losses, rtol=SAME, atol=0):
        tie = Condition("differs from the champion", False, "equal on every row", "a difference")
        return _verdict([*conditions, tie], "")
    conditions += [
        compatible_answers(served.predictions, challenger.predictions),
        *latency(challenger, served, rows, allowed),
    ]
    more, promotion = _against_champion(model, served, challenger, rows, allowed)
    return _verdict([*conditions, *more], promotion)


def learned_from(model: Model, number: str, rows: pd.DataFrame) -> np.ndarray:
    """Return which of the rows a version has learned from, by their keys (boolean, (rows,))."""
    with run_artifacts(model.name, number, model.files.train_keys.name) as file:
        return np.isin(key_hashes(model.table, rows), np.load(file, allow_pickle=False))


def _against_champion(
    model: Model, served: Contender, challenger: Contender, rows: pd.DataFrame, allowed: Limits
) -> tuple[list[Condition], str]:
    """Return what a challenger must meet against the champion, and the reason to give if it does."""
    schema = compatible_inputs(served.version.signature.inputs, challenger.version.signature.inputs)
    unseen = ~learned_from(model, served.version.number, rows)
    count = f"{unseen.sum()} of {len(rows)}"
    fresh = Condition("rows new to the champion", int(unseen.sum()) >= SMALL, count, f"at least {SMALL}")
    if not fresh.holds:
        return [fresh, schema], ""
    rows, gain = rows[unseen], (served.losses - challenger.losses)[unseen]
    units = resampling_units(rows, model.table)
    naive = evaluate.read_scores(model)["baselines"]["naive"]["value"]
    skill = max(float(naive - served.losses[unseen].mean()), 0.0)
    judged = compared(gain, units, large_slices(model, rows), skill, allowed)
    low, _ = interval(gain, units, allowed.level)
    promotion = f"{'better' if low > 0 else 'not worse'} than version {served.version.number}: {judged[0].found}"
    return [fresh, schema, *judged], promotion


def _verdict(conditions: list[Condition], promotion: str) -> Verdict:
    """Return a promotion if every condition holds; else the reason names those that do not. Warnings follow."""
    failed = [f"{each.name}: {each.found}, wanted {each.wanted}" for each in conditions if not each.holds]
    warned = [f"warning: {each.found}" for each in conditions if each.warning and each.holds]
    return Verdict(not failed, "; ".join([*(failed or [promotion]), *warned]), conditions)
