"""What the gate asks of a challenger: each function returns a condition with the number found and the one wanted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .. import Refused, first_line
from ..datasets.catalog import content_hash
from ..datasets.columns import Input
from ..datasets.table import Table
from ..registry import provenance
from ..registry.loading import LoadedVersion, load_version
from ..registry.versions import get_version
from ..training import evaluate
from ..training.contract import Model
from ..training.statistics import FEW, SMALL, gain_interval, independent, interval
from .limits import Bounds, Limits

SHOWN = 3  # uncommitted files named

COMPARED = "not worse than the champion", "better than the champion"  # names of the condition on the gain


@dataclass(frozen=True)
class Condition:
    """One condition: what was found, what is wanted, and whether the same version may meet it another day.

    A warning holds, but is said with the verdict.
    """

    name: str
    holds: bool
    found: str
    wanted: str
    retryable: bool = False
    warning: bool = False


@dataclass(frozen=True)
class Contender:
    """A version on the held-out rows: its predictions, and its loss on each, (rows,)."""

    version: LoadedVersion
    predictions: pd.DataFrame
    losses: np.ndarray

    @classmethod
    def on(cls, model: Model, number: str, rows: pd.DataFrame) -> "Contender":
        """Load a version, verify that it reproduces its own examples, and let it predict the rows."""
        version = load_version(model.name, number)
        _has_inputs(version, model.table, rows)
        version.verify_examples()
        predictions = version.predict(rows)
        losses = np.asarray(model.module.losses(rows, predictions, model.table), float)
        return cls(version, predictions, losses)


def enough_rows(model: Model, rows: pd.DataFrame) -> Condition:
    """Require enough independent rows with different truths: held out or, if those are too few, in folds."""
    scores, values = evaluate.read_scores(model), rows[model.table.target].nunique()
    if count := scores.get("folds", 0):
        number, units, where = scores["rows"]["tested"], scores["rows"]["independent"], f" in {count} folds"
    else:
        number, units, where = len(rows), independent(rows, model.table), ""
    found = f"{number} rows{where}, {units} independent, {values} values of {model.table.target}"
    holds = number >= SMALL and units >= FEW and values >= 2
    return Condition("rows to judge on", holds, found, f"{SMALL} rows, {FEW} independent, 2 values")


def itself_on_few_rows(scores: dict[str, Any]) -> list[Condition]:
    """Require that a version whose recipe was scored in folds is itself not surely worse than naive."""
    if not scores.get("folds"):
        return []
    held_out = scores["held_out"]
    name, holds = f"itself not surely worse than naive on {held_out['rows']} rows", held_out["interval"][1] >= 0
    return [Condition(name, holds, _gain(held_out), "an upper bound of 0 or more")]


def comparable(model: Model, rows: pd.DataFrame) -> Condition:
    """Require that the held-out rows can show a difference from a champion: folds would compare recipes, not files."""
    count = evaluate.read_scores(model).get("folds", 0)
    found = f"{len(rows)}, {independent(rows, model.table)} of them independent"
    wanted = f"{SMALL}, {FEW} independent: until then promote by hand"
    return Condition("held-out rows to compare with the champion on", not count, found, wanted, True)


def deployable(model: Model, number: str, unattended: bool) -> list[Condition]:
    """Require that nobody took the version out of service and, unattended, that its code is committed."""
    conditions = []
    for word, reason in get_version(model.name, number).out_of_service.items():
        conditions.append(Condition(f"was not {word}", False, reason, f"version {number} promoted by hand"))
    if unattended:
        dirty = provenance.uncommitted_files()
        found = ", ".join(dirty[:SHOWN]) + (" ..." if len(dirty) > SHOWN else "")
        conditions.append(Condition("code is committed", not dirty, found or "all of it", "all of it", True))
    return conditions


def not_loaded(who: str, error: Exception, wanted: str) -> Condition:
    """Report that a version could not be loaded or cannot predict."""
    return Condition(f"{who} loads and predicts", False, f"{type(error).__name__}: {first_line(error)}", wanted, True)


def by_itself(model: Model, challenger: Contender, allowed: Limits) -> list[Condition]:
    """Return what a version must meet whichever version serves."""
    scores = evaluate.read_scores(model)
    same = content_hash(challenger.predictions.reset_index(drop=True)) == scores["prediction_hash"]
    finite = bool(evaluate.is_finite(challenger.predictions).all())
    naive, others = scores["baselines"]["naive"], set(scores["baselines"]) - {"naive"}
    margin = allowed.allowed_loss * max(naive["value"] - scores["value"], 0.0)
    conditions = [
        no_copies(scores["rows"].get("copies", 0)),
        Condition("the file predicts what was scored", same, "same hash" if same else "other hash", "same hash"),
        Condition("predictions are finite", finite, "all" if finite else "some are missing or infinite", "all"),
        Condition("better than naive", naive["interval"][0] > 0, _gain(naive), "a lower bound above 0"),
        *itself_on_few_rows(scores),
        *(not_worse_than(name, scores["baselines"][name], margin) for name in sorted(others)),
    ]
    if allowed.max_megabytes is not None:
        conditions.append(file_size(challenger.version.megabytes, allowed.max_megabytes))
    if allowed.max_loss is not None:
        holds, found = scores["value"] <= allowed.max_loss, f"{scores['value']:.4g}"
        conditions.append(Condition(scores["primary"], holds, found, f"at most {allowed.max_loss:g}"))
    return [*conditions, *(guard(name, bounds, scores["metrics"]) for name, bounds in allowed.guards.items())]


def not_worse_than(name: str, baseline: dict[str, Any], margin: float) -> Condition:
    """Require that a version is not surely worse than a baseline of its module, by more than a margin.

    Without one, a bold baseline that happens to be right on few rows would refuse a version that is better on others.
    """
    wanted = f"an upper bound of {-margin:.4g} or more"
    return Condition(f"not surely worse than {name}", baseline["interval"][1] >= -margin, _gain(baseline), wanted)


def file_size(megabytes: float, limit: float) -> Condition:
    """Require that the model file is small enough."""
    return Condition("size of the model file", megabytes <= limit, f"{megabytes:.2f} MB", f"at most {limit:g} MB")


def no_copies(count: int) -> Condition:
    """Warn of held-out rows that are copies of training rows; none of them was scored."""
    found = f"{count} held-out rows are copies of training rows under other keys, and left out" if count else "none"
    return Condition("no row under two keys", True, found, "none", warning=count > 0)


def guard(name: str, bounds: Bounds, metrics: dict[str, float]) -> Condition:
    """Require that a further metric keeps to its bounds."""
    low = -np.inf if bounds.min is None else bounds.min
    high = np.inf if bounds.max is None else bounds.max
    value = metrics.get(name)
    holds = value is not None and low <= value <= high
    found = f"{value:.4g}" if value is not None else f"no such metric, only {', '.join(metrics)}"
    return Condition(f"guard {name}", holds, found, f"{low:g} to {high:g}")


def compatible_inputs(served: list[Input], wanted: list[Input]) -> Condition:
    """Require that every request the champion takes is one that the challenger takes."""
    known, name = {column.name: column for column in served}, "takes what is served"
    for column in wanted:
        if column.name not in known:
            return Condition(name, False, f"needs a new column {column.name!r}", "the same columns")
        if column.kind != known[column.name].kind:
            change = f"{column.name!r} was a {known[column.name].kind}, is a {column.kind}"
            return Condition(name, False, change, "the same kinds")
        if known[column.name].nullable and not column.nullable:
            return Condition(name, False, f"{column.name!r} may not be empty any more", "the same gaps")
    return Condition(name, True, "compatible", "compatible")


def compatible_answers(served: pd.DataFrame, wanted: pd.DataFrame) -> Condition:
    """Require that the challenger's predictions have every column, thus every class, that the champion's have."""
    known = {_value(column) for column in wanted}
    lost = [column for column in served if _value(column) not in known]
    found = f"{lost[0]!r} is not among the predictions any more" if lost else "all that was"
    return Condition("answers what is served", not lost, found, "every class and column of the champion's predictions")


def compared(
    gain: np.ndarray, units: np.ndarray, slices: dict[str, np.ndarray], skill: float, allowed: Limits
) -> list[Condition]:
    """Require that the challenger is not worse than the champion, over all rows and on each slice.

    Args:
        gain: The champion's loss minus the challenger's, (rows,).
        units: The resampling unit of each row, (rows,).
        slices: By name, whether each row is inside, (rows,).
        skill: How much lower the champion's mean loss is than the naive one.
        allowed: The limits.
    """
    low, high = gain_interval(gain, units, allowed.level)
    floor = -allowed.allowed_loss * skill if allowed.min_gain is None else allowed.min_gain * skill
    name = COMPARED[0] if allowed.min_gain is None else COMPARED[1]
    found = f"{gain_in_words(gain, low, high)}; here {seen_from(gain.mean() - low, skill)} is told from chance"
    holds = bool(low > floor and high >= 0)  # a loss that is certain is not allowed, or many would add up
    wanted = f"a lower bound above {floor:.4g}" if low <= floor else "an upper bound of 0 or more"
    return [Condition(name, holds, found, wanted), *_worst_slice(gain, units, slices, skill, allowed)]


def not_below_anchor(
    number: str, gain: np.ndarray, units: np.ndarray, skill: float, allowed: Limits
) -> tuple[Condition, bool]:
    """Require that small losses, each allowed, do not add up to more than one of them.

    Args:
        number: Of the anchor, the best former champion.
        gain: The anchor's loss minus the challenger's, (rows,).
        units: The resampling unit of each row, (rows,).
        skill: How much lower the anchor's mean loss is than the naive one.
        allowed: The limits.

    Returns:
        The condition, and whether the challenger is surely better than the anchor.
    """
    low, high = gain_interval(gain, units, allowed.level)
    floor = -allowed.allowed_loss * skill
    name = f"not worse in all than version {number}, the best before"
    found = gain_in_words(gain, low, high)
    return Condition(name, bool(low > floor), found, f"a lower bound above {floor:.4g}"), bool(low > 0)


def gain_in_words(gain: np.ndarray, low: float, high: float) -> str:
    """Return the mean gain with its interval."""
    return f"gain {gain.mean():.4g} ({low:.4g} to {high:.4g})"


def seen_from(width: float, skill: float) -> str:
    """Return the smallest gain that the rows can show, in the unit of the loss and as a share of the skill."""
    return f"a gain from {width:.3g} on" + (f" ({width / skill:.0%} of the skill)" if skill > 0 else "")


def large_slices(model: Model, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the slices that are large enough to judge: by name, whether each row is inside, (rows,)."""
    found = {}
    for column in evaluate.slice_columns(model, rows):
        values = evaluate.slice_names(rows[column])
        found |= {f"{column} = {value}": values == value for value in np.unique(values)}
    return {name: inside for name, inside in found.items() if inside.sum() >= SMALL}


def _worst_slice(
    gain: np.ndarray, units: np.ndarray, slices: dict[str, np.ndarray], skill: float, allowed: Limits
) -> list[Condition]:
    """Require that no slice has a loss that is too large, and too certain to be chance among so many slices."""
    if not slices or allowed.slice_loss is None:
        return []
    level = 1 - (1 - allowed.level) / len(slices)
    bad = []
    for name, inside in slices.items():
        mean = gain[inside].mean()
        if mean < -allowed.slice_loss * skill:
            _, high = interval(gain[inside], np.unique(units[inside], return_inverse=True)[1], level)
            bad += [(mean, f"{name}: gain {mean:.4g}, at most {high:.4g}")] if high < 0 else []
    worst = min(bad)[1] if bad else f"none of {len(slices)}"
    return [Condition("no slice is surely worse", not bad, worst, f"a gain above {-allowed.slice_loss * skill:.4g}")]


def _gain(baseline: dict[str, Any]) -> str:
    return f"gain {baseline['gain']:.4g} ({baseline['interval'][0]:.4g} to {baseline['interval'][1]:.4g})"


def _value(column: str) -> str:
    """Return a column's name, that of a class by its value: 1.0 is 1."""
    return str(column).removesuffix(".0")


def _has_inputs(version: LoadedVersion, table: Table, rows: pd.DataFrame) -> None:
    """Raise Refused, naming what is missing and what is new, unless the rows have every column that a version takes."""
    inputs = version.signature.inputs
    if lost := [column.name for column in inputs if not column.optional and column.name not in rows]:
        new = [name for name in table.features if name not in {column.name for column in inputs}]
        beside = f"; a version made today needs a new column {new[0]!r}" if new else ""
        raise Refused(f"needs column {lost[0]!r}, which table {table.name} has no more{beside}")
