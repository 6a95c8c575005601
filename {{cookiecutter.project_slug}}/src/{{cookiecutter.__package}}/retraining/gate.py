"""Whether a challenger may serve: it is compared with the champion on held-out rows that neither has learned from."""

import json
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from .. import Refused, first_line
from ..datasets.table import key_hashes
from ..registry.learned import AFTER
from ..registry.versions import champion, get_version, recorded_parameters, run_artifacts
from ..training import evaluate
from ..training.contract import Model
from ..training.statistics import gain_interval, resampling_units
from ..training.workspace import read_rows
from .conditions import (
    COMPARED,
    SMALL,
    Condition,
    Contender,
    by_itself,
    comparable,
    compared,
    compatible_answers,
    compatible_inputs,
    deployable,
    enough_rows,
    large_slices,
    not_below_anchor,
    not_loaded,
)
from .latency import latency
from .leakage import check_leakage
from .limits import Limits, limits
from .target import steady_target

SAME = 1e-9  # relative difference of losses that counts as none


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, why in words, every condition, and the anchor of those that follow it.

    The anchor is the best former champion: the last that was surely better than the anchor before. A version that was
    promoted as not worse inherits that of its predecessor, so that small losses cannot add up.
    """

    promote: bool
    reason: str
    conditions: list[Condition]
    anchor: str = ""

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


def judge(model: Model, number: str, *, unattended: bool = False, alone: bool = False) -> Verdict:
    """Return the verdict on a version that was made from what is in the model's workspace.

    Args:
        model: With its limits in `gate`.
        number: The challenger's.
        unattended: Whether nobody watches: then its code must be committed.
        alone: Whether to compare it with no champion, because it is the champion.
    """
    allowed, rows = limits(model), pd.read_parquet(model.files.holdout)
    before = None if alone else champion(model.name)
    conditions = [enough_rows(model, rows), *deployable(model, number, unattended)]
    conditions += [*steady_target(model, number, before, allowed), *_no_learner(model, number, before)]
    if not conditions[0].holds:
        return decided(conditions, "")
    try:
        challenger = Contender.on(model, number, rows)
    except Exception as error:  # a file may be anything, and a model's code may raise anything
        return decided([*conditions, not_loaded("the challenger", error, "it loads and predicts")], "")
    conditions += [
        *by_itself(model, challenger, allowed),
        check_leakage(model.table, challenger.version.signature.inputs, read_rows(model.files.train), allowed),
    ]
    if before is None:
        conditions += latency(challenger, None, rows, allowed)
        return decided(conditions, f"the first champion: {evaluate.summary(evaluate.read_scores(model))}", number)
    return _judge_against(before, model, challenger, rows, allowed, conditions)


def learned_from(model: Model, number: str, rows: pd.DataFrame) -> np.ndarray:
    """Return which of the rows a version has learned from, by their keys (boolean, (rows,))."""
    with run_artifacts(model.name, number, model.files.train_keys.name) as file:
        return np.isin(key_hashes(model.table, rows), np.load(file, allow_pickle=False))


def _no_learner(model: Model, number: str, before: str | None) -> list[Condition]:
    """Require that a fit of the same code and parameters takes nothing from a champion that learns from the log.

    The table would judge it by what was; what has been learned since is judged on the log, day by day.
    """
    if before is None or AFTER not in get_version(model.name, before).tags:
        return []
    codes = [get_version(model.name, each).tags.get("code") for each in (before, number)]
    recipes = [recorded_parameters(get_version(model.name, each)) for each in (before, number)]
    other = codes[0] != codes[1] or recipes[0] != recipes[1]
    found = "other code or parameters" if other else f"version {before} does, and this is its code and its parameters"
    wanted = "other code or parameters, or promote it by hand"
    return [Condition("the champion does not learn from the log", other, found, wanted)]


def _judge_against(
    before: str,
    model: Model,
    challenger: Contender,
    rows: pd.DataFrame,
    allowed: Limits,
    conditions: list[Condition],
) -> Verdict:
    """Return the verdict on a challenger of the version that serves, after the conditions that it met by itself."""
    if not (enough := comparable(model, rows)).holds:
        return decided([*conditions, enough], "")
    try:
        served = Contender.on(model, before, rows)
    except Exception as error:
        wanted = f"a champion to compare with: roll back, or promote {challenger.version.number} by hand"
        return decided([*conditions, not_loaded("the champion", error, wanted)], "")
    same_inputs = served.version.signature.inputs == challenger.version.signature.inputs
    if same_inputs and np.allclose(served.losses, challenger.losses, rtol=SAME, atol=0):
        tie = Condition("differs from the champion", False, "equal on every row", "a difference")
        return decided([*conditions, tie], "")
    conditions = [
        *conditions,
        compatible_answers(served.predictions, challenger.predictions),
        *latency(challenger, served, rows, allowed),
    ]
    more, promotion, better = _against_champion(model, served, challenger, rows, allowed)
    anchored, anchor = _against_anchor(model, served, challenger, rows, allowed, better=better)
    return decided([*conditions, *more, *anchored], promotion, anchor)


def _against_champion(
    model: Model, served: Contender, challenger: Contender, rows: pd.DataFrame, allowed: Limits
) -> tuple[list[Condition], str, bool]:
    """Return what a challenger must meet against the champion, the reason if it does, and whether it is better."""
    schema = compatible_inputs(served.version.signature.inputs, challenger.version.signature.inputs)
    unseen = ~learned_from(model, served.version.number, rows)
    count = f"{unseen.sum()} of {len(rows)}"
    fresh = Condition("rows new to the champion", int(unseen.sum()) >= SMALL, count, f"at least {SMALL}")
    if not fresh.holds:
        return [fresh, schema], "", False
    gain, units, skill = _gain(model, served, challenger, rows, unseen)
    judged = compared(gain, units, large_slices(model, rows[unseen]), skill, allowed)
    better = gain_interval(gain, units, allowed.level)[0] > 0
    promotion = f"{'better' if better else 'not worse'} than version {served.version.number}: {judged[0].found}"
    return [fresh, schema, *judged], promotion, better


def _against_anchor(
    model: Model, served: Contender, challenger: Contender, rows: pd.DataFrame, allowed: Limits, *, better: bool
) -> tuple[list[Condition], str]:
    """Return what a challenger must meet against the anchor, and the anchor of those that follow it."""
    number = served.version.number
    anchor = get_version(model.name, number).tags.get("anchor", number)
    next_anchor = challenger.version.number if better else number
    if anchor == number:
        return [], next_anchor
    try:
        if why := get_version(model.name, anchor).out_of_service:
            raise Refused(f"it was {' and '.join(why)}")
        former = Contender.on(model, anchor, rows)
        if (unseen := ~learned_from(model, anchor, rows)).sum() < SMALL:
            raise Refused(f"only {unseen.sum()} rows are new to it")
    except Exception as error:  # an old version may need what is not here any more
        name = f"version {anchor}, the best before"
        return [Condition(name, True, f"not compared: {first_line(error)}", "where it can be run")], next_anchor
    gain, units, skill = _gain(model, former, challenger, rows, unseen)
    condition, above = not_below_anchor(anchor, gain, units, skill, allowed)
    return [condition], challenger.version.number if above else anchor


def _gain(
    model: Model, former: Contender, challenger: Contender, rows: pd.DataFrame, unseen: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the challenger's gain over a former version on rows new to both, their units, and that version's skill."""
    naive = evaluate.read_scores(model)["baselines"]["naive"]["value"]
    skill = max(float(naive - former.losses[unseen].mean()), 0.0)
    return (former.losses - challenger.losses)[unseen], resampling_units(rows[unseen], model.table), skill


def decided(conditions: list[Condition], promotion: str, anchor: str = "") -> Verdict:
    """Return a promotion if every condition holds; else the reason names those that do not. Warnings follow."""
    failed = [f"{each.name}: {each.found}, wanted {each.wanted}" for each in conditions if not each.holds]
    warned = [f"warning: {each.found}" for each in conditions if each.warning and each.holds]
    return Verdict(not failed, "; ".join([*(failed or [promotion]), *warned]), conditions, anchor)
