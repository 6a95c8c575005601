"""Whether a version that learned from logged rows may serve: judged on rows predicted before any of them was learned.

Conditions, limits and statistics are those of the gate. Rows of one day are alike: days are resampled.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from .. import Refused, first_line
from ..registry.loading import load_served, load_version
from ..registry.versions import champion, get_version
from ..training import evaluate
from ..training.contract import Learning
from ..training.evaluate import is_finite
from ..training.statistics import FEW, SMALL, gain_interval, interval
from .conditions import (
    Condition,
    Contender,
    by_itself,
    compared,
    compatible_answers,
    compatible_inputs,
    deployable,
    large_slices,
    not_below_anchor,
    not_loaded,
)
from .gate import Verdict, decided
from .latency import latency
from .limits import limits

SAME = 1e-9  # difference of predictions that counts as none


@dataclass(frozen=True)
class Stream:
    """Logged rows with labels, oldest first, as a version was tested on them.

    Attributes:
        rows: The rows with what turned out true, by their ids.
        predictions: What was predicted before any of them was learned from.
        learned: Whether the version has learned from a row since, (rows,); the others it predicted itself.
        days: The number of each row's day, (rows,).
        keys: The hash of each row's key, 0 if it was sent without, (rows,).
    """

    rows: pd.DataFrame
    predictions: pd.DataFrame
    learned: np.ndarray
    days: np.ndarray
    keys: np.ndarray

    def newest(self) -> np.ndarray:
        """Return which rows are of the newest FEW days that have any, (rows,)."""
        return self.days > self.days.max(initial=0) - FEW

    def part(self, inside: np.ndarray) -> "Stream":
        """Return the rows inside, (rows,), with days numbered from 0."""
        days = np.unique(self.days[inside], return_inverse=True)[1]
        arrays = self.learned[inside], days, self.keys[inside]
        return Stream(self.rows[inside], self.predictions[inside], *arrays)


def judge(
    model: Learning, number: str, stream: Stream, new: dict[str, np.ndarray], *, unattended: bool = False
) -> Verdict:
    """Return the verdict on a version that learned from logged rows.

    Args:
        model: With its limits in `gate`, and the scores on the stream in its workspace.
        number: The challenger's.
        stream: What it was tested on; by itself it is judged on the newest days, as what it is now.
        new: By the numbers of the champion and its anchor, which rows are new to them, (rows,).
        unattended: Whether nobody watches: then its code must be committed.
    """
    allowed, before, conditions = limits(model), champion(model.name), deployable(model, number, unattended)
    try:
        challenger = _tested(model, number, stream)
        served = _asked(model, before, stream)
    except Exception as error:  # a file may be anything, and a model's code may raise anything
        return decided([*conditions, not_loaded("each of the two", error, "both load and predict")], "")
    lately = stream.newest()
    own = Contender(challenger.version, stream.predictions[lately], challenger.losses[lately])
    conditions += [*by_itself(model, own, allowed), _reproduced(challenger, stream)]
    conditions += latency(challenger, served, stream.rows, allowed)
    conditions.append(compatible_answers(served.predictions, challenger.predictions))
    conditions.append(compatible_inputs(served.version.signature.inputs, challenger.version.signature.inputs))
    both = stream.part(new[before])
    conditions.append(enough := _enough(both))
    if not enough.holds:
        return decided(conditions, "")
    gain, skill = _gain(model, served, challenger, new[before])
    judged = compared(gain, both.days, large_slices(model, both.rows), skill, allowed)
    better = gain_interval(gain, both.days, allowed.level)[0] > 0
    anchored, anchor = _against_anchor(model, challenger, before, stream, new, better=better)
    words = f"{'better' if better else 'not worse'} than version {before}: {judged[0].found}"
    return decided([*conditions, *judged, *_by_itself_lately(gain, both, allowed.level), *anchored], words, anchor)


def anchor_of(model: Learning) -> str:
    """Return the best former champion, with which a challenger is compared besides the champion."""
    before = champion(model.name)
    return get_version(model.name, before).tags.get("anchor", before)


def _tested(model: Learning, number: str, stream: Stream) -> Contender:
    """Return a version with what was predicted of the stream before it learned from it."""
    version = load_version(model.name, number)
    version.verify_examples()
    losses = np.asarray(model.module.losses(stream.rows, stream.predictions, model.table), float)
    return Contender(version, stream.predictions, losses)


def _asked(model: Learning, number: str, stream: Stream) -> Contender:
    """Return a version, as it serves, with what it predicts of the stream."""
    version = load_served(model.name, number)
    predictions = version.predict(stream.rows)
    losses = np.asarray(model.module.losses(stream.rows, predictions, model.table), float)
    return Contender(version, predictions, losses)


def _gain(model: Learning, former: Contender, challenger: Contender, inside: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the gain over a former version on the rows inside, (rows,), and that version's skill."""
    naive = evaluate.read_scores(model)["baselines"]["naive"]["value"]
    skill = max(float(naive - former.losses[inside].mean()), 0.0)
    return (former.losses - challenger.losses)[inside], skill


def _reproduced(challenger: Contender, stream: Stream) -> Condition:
    """Require that the file predicts the newest rows as they were predicted before it was recorded."""
    own = ~stream.learned
    found, wanted = challenger.version.predict(stream.rows[own]), stream.predictions[own]
    numbers = [each.select_dtypes("number").to_numpy(float) for each in (found, wanted)]
    same = numbers[0].shape == numbers[1].shape and np.allclose(*numbers, rtol=SAME, atol=SAME)
    holds = bool(same and is_finite(found).all())
    words = f"{own.sum()} rows, {'as before' if holds else 'other values'}"
    return Condition("the file predicts its newest rows as when it was made", holds, words, "the same")


def _enough(stream: Stream) -> Condition:
    """Require enough rows that neither has learned from, of enough days."""
    count = int(stream.days.max(initial=-1)) + 1
    holds = len(stream.rows) >= SMALL and count >= FEW
    found = f"{len(stream.rows)} labelled rows of {count} days"
    return Condition("logged rows new to both when they were predicted", holds, found, f"{SMALL} rows, {FEW} days")


def _by_itself_lately(gain: np.ndarray, stream: Stream, level: float) -> list[Condition]:
    """Require that on the rows that only judge, none of which it has learned from, it is not surely worse."""
    own = ~stream.learned
    if own.sum() < SMALL:
        return []
    high = interval(gain[own], np.arange(own.sum()), level)[1]
    found = f"gain {gain[own].mean():.4g}, at most {high:.4g}, on {own.sum()} rows"
    return [Condition("itself not surely worse on the newest rows", high >= 0, found, "an upper bound of 0 or more")]


def _against_anchor(
    model: Learning, challenger: Contender, before: str, stream: Stream, new: dict[str, np.ndarray], *, better: bool
) -> tuple[list[Condition], str]:
    """Return what a challenger must meet against the anchor, and the anchor of those that follow it."""
    anchor = anchor_of(model)
    next_anchor = challenger.version.number if better else before
    if anchor == before:
        return [], next_anchor
    try:
        if why := get_version(model.name, anchor).out_of_service:
            raise Refused(f"it was {' and '.join(why)}")
        if not (enough := _enough(stream.part(new[anchor]))).holds:
            raise Refused(f"only {enough.found} are new to it")
        former = _asked(model, anchor, stream)
    except Exception as error:  # an old version may need what is not here any more
        name = f"version {anchor}, the best before"
        return [Condition(name, True, f"not compared: {first_line(error)}", "where it can be run")], next_anchor
    gain, skill = _gain(model, former, challenger, new[anchor])
    condition, above = not_below_anchor(anchor, gain, stream.part(new[anchor]).days, skill, limits(model))
    return [condition], challenger.version.number if above else anchor
