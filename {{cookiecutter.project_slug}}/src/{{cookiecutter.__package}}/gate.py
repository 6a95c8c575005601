"""Whether a challenger may serve: it meets the champion on held-out rows that neither has learned from."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from . import BadRows, Refused, artifact, catalog, evaluate, first_line, registry, state
from .artifact import Input
from .models import Model

SMALL = 30  # rows, or groups of rows, below which neither a holdout nor a slice is judged
FEW = 8  # groups below which a holdout is not judged, however many rows they have
SAME = 1e-9  # relative difference of losses that is no difference
TRIES = 3  # at predicting a row, of which the fastest counts
SHOWN = 3  # uncommitted files named
MIXED, TOGETHER = 1000, 20  # rows among which a column's values are mixed, and columns at a time
CARRIED = 0.9  # share of the skill that hangs on one column of a leak


@dataclass(frozen=True)
class Limits:
    """What the block `gate` of a model in params.yaml may say; gains and losses are shares of the champion's skill.

    Skill is how much lower the champion's loss is than the naive baseline's.
    """

    allowed_loss: float = 0.05  # the challenger is surely not worse than the champion by more than this
    min_gain: float | None = None  # if set: the challenger is surely better than the champion by more than this
    slice_loss: float = 0.2  # no slice is surely worse, by more than this
    max_loss: float | None = None  # of the primary metric itself
    max_skill: float = 0.9  # share of the naive loss taken away, from which a single column may not carry it
    guards: dict[str, dict[str, float]] = field(default_factory=dict)  # metric -> min, max
    max_milliseconds: float = 250.0  # to predict one row
    max_megabytes: float = 500.0  # of the model file
    level: float = 0.95  # of the intervals; an error to one side is half as likely as one at all


@dataclass(frozen=True)
class Condition:
    """One question the gate asked, the number it found, and what it would allow."""

    name: str
    holds: bool
    found: str
    wanted: str
    passing: bool = False  # may hold another day, for the very same version


@dataclass(frozen=True)
class Verdict:
    """Whether the challenger is promoted, why in words, and every condition."""

    promote: bool
    reason: str
    conditions: list[Condition]

    @property
    def final(self) -> bool:
        """Whether asking again would say the same."""
        return not any(each.passing and not each.holds for each in self.conditions)

    def json(self, sha256: str) -> str:
        """The verdict on the model file with this hash."""
        return json.dumps(asdict(self) | {"sha256": sha256}, indent=1)


def limits(model: Model) -> Limits:
    """The model's limits, those not given in params.yaml at their defaults."""
    known = {each.name for each in fields(Limits)}
    if unknown := set(model.gate) - known:
        raise Refused(f"params.yaml: gate of {model.name} has an unknown key {min(unknown)!r}, use {sorted(known)}")
    guards = model.gate.get("guards", {})
    bounds = {f"{name}: {key}": value for name, bound in guards.items() for key, value in bound.items()}
    if unknown := [name for name in bounds if not name.endswith((": min", ": max"))]:
        raise Refused(f"params.yaml: gate of {model.name} has a guard {unknown[0]}, use min and max")
    numbers = {name: value for name, value in model.gate.items() if name != "guards" and value is not None} | bounds
    if wrong := [name for name, value in numbers.items() if isinstance(value, bool | str) or not np.isreal(value)]:
        raise Refused(f"params.yaml: gate of {model.name}: {wrong[0]} must be a number, not {numbers[wrong[0]]!r}")
    return Limits(**model.gate)


def judge(model: Model, version: str, *, unattended: bool = False) -> Verdict:
    """The verdict on a version that was made from what stands in the model's folder."""
    allowed = limits(model)
    rows = pd.read_parquet(model.folder / "rows" / "holdout.parquet")
    conditions = [_judgeable(model, rows), *_deployable(model, version, unattended)]
    if not conditions[0].holds:
        return _verdict(conditions, "")
    try:
        challenger = Contender.of(model, version, rows)
    except Exception as error:  # a file may be anything, and a model's code may raise anything
        return _verdict([*conditions, _loads("the challenger", error, "it loads and predicts")], "")
    conditions += _alone(model, challenger, rows, allowed)
    before = registry.champion(model.name)
    if before is None:
        return _verdict(conditions, "the first champion: better than the naive baseline")
    try:
        champion = Contender.of(model, before, rows)
    except Exception as error:
        wanted = f"a champion to compare with: roll back, or promote {version} by hand"
        return _verdict([*conditions, _loads("the champion", error, wanted)], "")
    if np.allclose(champion.losses, challenger.losses, rtol=SAME, atol=0):
        tie = Condition("differs from the champion", False, "equal on every row", "a difference")
        return _verdict([*conditions, tie], "")
    compared, praise = _compared(model, champion, challenger, rows, allowed)
    return _verdict([*conditions, *compared], praise)


@dataclass(frozen=True)
class Contender:
    """A version as loaded from the registry, and how it does on the rows."""

    version: str
    signature: artifact.Signature
    estimator: Any
    predictions: pd.DataFrame
    losses: np.ndarray
    megabytes: float

    @classmethod
    def of(cls, model: Model, version: str, rows: pd.DataFrame) -> "Contender":
        folder = registry.folder(model.name, version)
        signature = artifact.signature(folder)
        estimator = artifact.load(folder, model.module.TRUSTED)
        predictions = model.module.predict(estimator, rows)
        size = (folder / artifact.FILE).stat().st_size / 1e6
        losses = np.asarray(model.module.losses(rows, predictions, model.table), float)
        return cls(version, signature, estimator, predictions, losses, size)

    def milliseconds(self, model: Model, row: pd.DataFrame) -> float:
        """To predict one row, at best."""
        times = []
        for _ in range(TRIES):
            start = time.perf_counter()
            model.module.predict(self.estimator, row)
            times.append(1000 * (time.perf_counter() - start))
        return min(times)


def compared(
    gain: np.ndarray, units: np.ndarray, slices: dict[str, np.ndarray], skill: float, allowed: Limits
) -> list[Condition]:
    """What the gains (the champion's loss minus the challenger's, row by row) must keep: all in all, and by slice."""
    low, high = evaluate.interval(gain, units, allowed.level)
    floor = -allowed.allowed_loss * skill if allowed.min_gain is None else allowed.min_gain * skill
    words = "not worse than the champion" if allowed.min_gain is None else "better than the champion"
    found = f"gain {gain.mean():.4g} ({low:.4g} to {high:.4g})"
    holds = bool(low > floor and high >= 0)  # a loss that is sure is none to allow, or many of them would add up
    wanted = f"a lower bound above {floor:.4g}" if low <= floor else "an upper bound of 0 or more"
    return [Condition(words, holds, found, wanted), *_slices(gain, units, slices, skill, allowed)]


def _judgeable(model: Model, rows: pd.DataFrame) -> Condition:
    """Few rows, rows of few groups, or rows that all have the same truth tell nothing."""
    groups, values = int(evaluate.units(rows, model.table).max(initial=-1)) + 1, rows[model.table.target].nunique()
    found = f"{len(rows)} rows, {groups} independent, {values} values of {model.table.target}"
    holds = len(rows) >= SMALL and groups >= FEW and values >= 2
    return Condition("rows to judge on", holds, found, f"{SMALL} rows, {FEW} independent, 2 values")


def _alone(model: Model, challenger: Contender, rows: pd.DataFrame, allowed: Limits) -> list[Condition]:
    """What a version must keep whoever serves."""
    found = evaluate.metrics(model)
    same = catalog.content_hash(challenger.predictions.reset_index(drop=True)) == found["prediction_hash"]
    finite = bool(evaluate.finite(challenger.predictions).all())
    naive, linear = found["baselines"]["naive"], found["baselines"].get("linear")
    budget = f"at most {allowed.max_milliseconds:g} ms a row, {allowed.max_megabytes:g} MB"
    milliseconds = challenger.milliseconds(model, rows.head(1))
    within = milliseconds <= allowed.max_milliseconds and challenger.megabytes <= allowed.max_megabytes
    conditions = [
        Condition("the file predicts what was scored", same, "same hash" if same else "other hash", "same hash"),
        Condition("predictions are finite", finite, "all" if finite else "some are missing or infinite", "all"),
        Condition("better than naive", naive["interval"][0] > 0, _gain(naive), "a lower bound above 0"),
        Condition("latency and size", within, f"{milliseconds:.1f} ms, {challenger.megabytes:.2f} MB", budget, True),
        _honest(model, challenger, rows, naive["value"], allowed),
    ]
    if linear:
        holds = linear["interval"][1] >= 0
        conditions.append(
            Condition("not surely worse than linear", holds, _gain(linear), "an upper bound of 0 or more")
        )
    if allowed.max_loss is not None:
        holds = found["value"] <= allowed.max_loss
        conditions.append(Condition(found["primary"], holds, f"{found['value']:.4g}", f"at most {allowed.max_loss:g}"))
    return [*conditions, *(_guard(name, bound, found["metrics"]) for name, bound in allowed.guards.items())]


def _honest(model: Model, challenger: Contender, rows: pd.DataFrame, naive: float, allowed: Limits) -> Condition:
    """Too good to be true is a model that is almost perfect because of a single column: it may hold the answer."""
    skill = 1 - challenger.losses.mean() / naive if naive > 0 else 0.0
    found, share = f"{skill:.1%} of the naive loss taken away", 0.0
    if skill > allowed.max_skill and len(challenger.signature.inputs) > 1:
        picked = np.random.default_rng(0).permutation(len(rows))[:MIXED]
        names, loss = [column.name for column in challenger.signature.inputs], challenger.losses[picked].mean()
        some, mixed = rows.iloc[picked].reset_index(drop=True), {}
        for i in range(0, len(names), TOGETHER):
            mixed |= _mixed(model, challenger.estimator, some, names[i : i + TOGETHER])
        if mixed:
            carrier = max(mixed, key=mixed.get)
            share = float((mixed[carrier] - loss) / (naive - loss))
            found += f", {min(max(share, 0), 1):.0%} of it by {carrier!r}"
    wanted = f"at most {allowed.max_skill:.0%} by one column: if it holds no answer, raise max_skill"
    return Condition("not too good to be true", bool(share < CARRIED), found, wanted)


def _mixed(model: Model, estimator: Any, rows: pd.DataFrame, names: list[str]) -> dict[str, float]:
    """The mean loss when a column's values are those of other rows, by column; without those that make no sense then.

    The rows come in random order: each gets the value of the one before.
    """
    one_off = [rows.assign(**{name: rows[name].array[np.arange(len(rows)) - 1]}) for name in names]
    together = pd.concat(one_off, ignore_index=True)
    try:
        predictions = model.module.predict(estimator, together)
    except BadRows:
        if len(names) == 1:
            return {}
        return {column: loss for name in names for column, loss in _mixed(model, estimator, rows, [name]).items()}
    losses = np.reshape(model.module.losses(together, predictions, model.table), (len(names), -1))
    return dict(zip(names, losses.mean(axis=1), strict=True))


def _deployable(model: Model, version: str, unattended: bool) -> list[Condition]:
    """What was rolled back comes back by hand only; and with nobody watching, only committed code is promoted."""
    back = registry.version(model.name, version).tags.get("rolled_back")
    conditions = [Condition("was not rolled back", False, back, f"a hand that promotes {version}")] if back else []
    if unattended:
        dirty = state.uncommitted()
        found = ", ".join(dirty[:SHOWN]) + (" ..." if len(dirty) > SHOWN else "")
        conditions.append(Condition("code is committed", not dirty, found or "all of it", "all of it", True))
    return conditions


def _compared(
    model: Model, champion: Contender, challenger: Contender, rows: pd.DataFrame, allowed: Limits
) -> tuple[list[Condition], str]:
    """What a challenger must keep against the champion, and what to say if it does."""
    schema = _schema(champion.signature.inputs, challenger.signature.inputs)
    unseen = ~registry.learned_from(model, champion.version, rows)
    fresh = Condition(
        "rows new to the champion", int(unseen.sum()) >= SMALL, f"{unseen.sum()} of {len(rows)}", f"at least {SMALL}"
    )
    if not fresh.holds:
        return [fresh, schema], ""
    rows, gain = rows[unseen], (champion.losses - challenger.losses)[unseen]
    naive = evaluate.metrics(model)["baselines"]["naive"]["value"]
    skill = max(float(naive - champion.losses[unseen].mean()), 0.0)
    judged = compared(gain, evaluate.units(rows, model.table), _slices_of(model, rows), skill, allowed)
    low, _ = evaluate.interval(gain, evaluate.units(rows, model.table), allowed.level)
    praise = f"{'better' if low > 0 else 'not worse'} than version {champion.version}: {judged[0].found}"
    return [fresh, schema, *judged], praise


def _slices_of(model: Model, rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """The slices that are large enough to judge, each by the rows inside."""
    found = {}
    for column in evaluate.sliced(model, rows):
        values = rows[column].astype("string").fillna("(missing)").to_numpy()
        found |= {f"{column} = {value}": values == value for value in np.unique(values)}
    return {name: inside for name, inside in found.items() if inside.sum() >= SMALL}


def _slices(
    gain: np.ndarray, units: np.ndarray, slices: dict[str, np.ndarray], skill: float, allowed: Limits
) -> list[Condition]:
    """A condition for the worst slice: its loss is too large to pass, and too sure to be chance among so many."""
    if not slices:
        return []
    level = 1 - (1 - allowed.level) / len(slices)
    bad = []
    for name, inside in slices.items():
        mean = gain[inside].mean()
        if mean < -allowed.slice_loss * skill:
            _, high = evaluate.interval(gain[inside], np.unique(units[inside], return_inverse=True)[1], level)
            bad += [(mean, f"{name}: gain {mean:.4g}, at most {high:.4g}")] if high < 0 else []
    worst = min(bad)[1] if bad else f"none of {len(slices)}"
    return [Condition("no slice is surely worse", not bad, worst, f"a gain above {-allowed.slice_loss * skill:.4g}")]


def _schema(served: list[Input], asked: list[Input]) -> Condition:
    """Whoever can ask the champion can ask the challenger."""
    known = {column.name: column for column in served}
    for column in asked:
        if column.name not in known:
            return Condition("takes what is served", False, f"needs a new column {column.name!r}", "the same columns")
        if column.kind != known[column.name].kind:
            change = f"{column.name!r} was a {known[column.name].kind}, is a {column.kind}"
            return Condition("takes what is served", False, change, "the same kinds")
        if known[column.name].nullable and not column.nullable:
            return Condition(
                "takes what is served", False, f"{column.name!r} may not be empty any more", "the same gaps"
            )
    return Condition("takes what is served", True, "compatible", "compatible")


def _guard(name: str, bound: dict[str, float], found: dict[str, float]) -> Condition:
    low, high = bound.get("min", -np.inf), bound.get("max", np.inf)
    value = found.get(name)
    holds = value is not None and low <= value <= high
    shown = f"{value:.4g}" if value is not None else f"no such metric, only {', '.join(found)}"
    return Condition(f"guard {name}", holds, shown, f"{low:g} to {high:g}")


def _loads(who: str, error: Exception, wanted: str) -> Condition:
    return Condition(f"{who} loads and predicts", False, f"{type(error).__name__}: {first_line(error)}", wanted, True)


def _gain(theirs: dict[str, Any]) -> str:
    return f"gain {theirs['gain']:.4g} ({theirs['interval'][0]:.4g} to {theirs['interval'][1]:.4g})"


def _verdict(conditions: list[Condition], praise: str) -> Verdict:
    """Promoted if every condition holds; the reason names those that do not."""
    failed = [f"{each.name}: {each.found}, wanted {each.wanted}" for each in conditions if not each.holds]
    return Verdict(not failed, "; ".join(failed) or praise, conditions)
