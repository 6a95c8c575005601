"""Weigh several models by how well they predict rows that they did not learn from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, RegressorMixin, clone, is_classifier
from sklearn.pipeline import Pipeline

from ..datasets.table import Table
from .progress import progress

FOLDS = 3
ROWS = 20_000  # that weights are chosen on at most, a sample of the training rows
MANY = 100_000  # from which on one fold is enough, whose models learn from all other rows: small ones weigh otherwise
STEPS = 10  # weights are multiples of 1 / STEPS
PLAIN = {"linear": 0.5, "boosted": 0.5}  # weights of a blend that is seldom bad
SMALLEST = 1e-12  # loss of it that counts as one
EARLIEST = 0.55  # share of a table's times that the first of its folds learns from
TRUSTED = (f"{__name__}.Blend", f"{__name__}.Corrected", "sklearn.tree._tree.Tree")

RowLosses = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of predictions, (..., rows), and the truth, (rows,)


@dataclass(frozen=True)
class Member:
    """A model that may be part of a blend.

    Attributes:
        estimator: Unfitted, of encoded features.
        rows: How many rows it learns from at most, a sample of them.
    """

    estimator: BaseEstimator
    rows: int | None = None

    def fitted(self, encoded: np.ndarray, truth: np.ndarray, seed: int) -> BaseEstimator:
        """Return a copy that has learned from these rows, and predicts in one thread, whose sums have one order."""
        chosen = sample(len(truth), self.rows, seed)
        estimator = clone(self.estimator).fit(encoded[chosen], truth[chosen])
        for step in getattr(estimator, "steps", [("", estimator)]):
            if hasattr(step[1], "n_jobs"):
                step[1].n_jobs = None
        return estimator


class Corrected(RegressorMixin, BaseEstimator):
    """A model, and another that learns what the first one leaves: trees follow a trend if a line has followed it first.

    Args:
        first: Unfitted.
        second: Unfitted; learns the residuals of the first.
        rows: How many rows the first learns from at most, a sample of them.
        seed: Of that sample.

    Attributes:
        first_: The first, fitted.
        second_: The second, fitted.
    """

    def __init__(self, first: BaseEstimator, second: BaseEstimator, rows: int | None = None, seed: int = 0) -> None:
        self.first, self.second, self.rows, self.seed = first, second, rows, seed

    def fit(self, encoded: np.ndarray, truth: np.ndarray) -> "Corrected":
        """Fit both."""
        chosen = sample(len(truth), self.rows, self.seed)
        self.first_ = clone(self.first).fit(encoded[chosen], truth[chosen])
        self.second_ = clone(self.second).fit(encoded, truth - self.first_.predict(encoded))
        return self

    def predict(self, encoded: np.ndarray) -> np.ndarray:
        """Return the predicted numbers, `(rows,)`."""
        return self.first_.predict(encoded) + self.second_.predict(encoded)


class Blend(BaseEstimator):
    """The weighted mean of what fitted estimators predict from encoded features.

    Attributes:
        members: The estimators.
        weights: A weight of each; their sum is 1.
        classes_: The classes, if the estimators are classifiers.
    """

    def __init__(self, members: list[BaseEstimator], weights: list[float], classes_: np.ndarray | None = None) -> None:
        self.members, self.weights, self.classes_ = members, weights, classes_

    def fit(self, encoded: np.ndarray, truth: np.ndarray) -> "Blend":
        """Return itself: its members are fitted."""
        return self

    def __sklearn_is_fitted__(self) -> bool:
        """Return that it is."""
        return True

    def predict_proba(self, encoded: np.ndarray) -> np.ndarray:
        """Return the probability of each class, `(rows, classes)`."""
        return self._mean([probabilities(member, encoded, self.classes_) for member in self.members])

    def predict(self, encoded: np.ndarray) -> np.ndarray:
        """Return the predicted numbers, `(rows,)`."""
        return self._mean([member.predict(encoded) for member in self.members])

    def _mean(self, predictions: list[np.ndarray]) -> np.ndarray:
        return sum(weight * predicted for weight, predicted in zip(self.weights, predictions, strict=True))


@dataclass(frozen=True)
class Recipe:
    """How a blend is made.

    Attributes:
        members: The models to choose from.
        encoder: Unfitted; encodes the rows for all of them.
        losses: The loss of numbers, or of the probabilities given to the true class.
        seed: Of samples and folds.
        caution: How strongly weights are pulled to the prior ones where a table has a time, what was best lately not
            being so tomorrow: what is added to the loss, relative to that of the prior weights, for each squared
            distance from them. Unless it is 0, later folds count for more there.
        prior: Weights of members whose blend is seldom bad; their sum is 1.
    """

    members: dict[str, Member]
    encoder: BaseEstimator
    losses: RowLosses
    seed: int
    caution: float = 0.0
    prior: dict[str, float] = field(default_factory=PLAIN.copy)

    def fit(self, rows: pd.DataFrame, truth: np.ndarray, table: Table) -> Pipeline:
        """Fit the encoder and the members that validation gives a weight.

        Args:
            rows: The training rows.
            truth: The target, `(rows,)`.
            table: The table that the rows are of.

        Returns:
            The fitted encoder, and the Blend.
        """
        weights = self.choose_weights(rows, truth, table)
        kept = [name for name, weight in weights.items() if weight > 0]
        encoder, fitted = self._fitted(kept, rows, truth)
        classes = np.unique(truth) if is_classifier(fitted[0]) else None
        return Pipeline([("encoder", encoder), ("blend", Blend(fitted, [weights[name] for name in kept], classes))])

    def fit_each(self, rows: pd.DataFrame, truth: np.ndarray) -> dict[str, Pipeline]:
        """Fit every member by itself, as a baseline."""
        encoder, fitted = self._fitted([*self.members], rows, truth)
        return {name: Pipeline([("encoder", encoder), (name, fitted[i])]) for i, name in enumerate(self.members)}

    def _fitted(self, names: list[str], rows: pd.DataFrame, truth: np.ndarray) -> tuple[Any, list[Any]]:
        """Return the encoder, and these members in their order, fitted on all rows."""
        progress(f"encoding {len(rows):,} rows")
        encoder = clone(self.encoder)
        encoded, fitted = encoder.fit_transform(rows, truth), []
        for i, name in enumerate(names, 1):
            progress(f"fitting {name}, {i} of {len(names)}, on {len(rows):,} rows")
            fitted.append(self.members[name].fitted(encoded, truth, self.seed))
        return encoder, fitted

    def choose_weights(self, rows: pd.DataFrame, truth: np.ndarray, table: Table) -> dict[str, float]:
        """Return the weights whose blend has the lowest loss on rows that it has not learned from.

        They are multiples of 1 / STEPS. If there is no fold to learn from, they are the prior ones.
        """
        many = len(rows) >= MANY
        part = slice(None) if many else sample(len(rows), ROWS, self.seed)
        rows, truth = rows.iloc[part], truth[part]
        careful = self.caution if table.time else 0.0
        prior = np.array([self.prior.get(name, 0.0) for name in self.members])
        grid = [each for each in product(range(STEPS + 1), repeat=len(self.members)) if sum(each) == STEPS]
        weights, relative, counts = np.array(grid) / STEPS, [], []  # (choices, members), and losses and count of a fold
        for number, (learned, held) in enumerate(folds(rows, truth, table, self.seed), 1):
            if many and number < FOLDS:
                continue
            progress(f"choosing weights: fold {number} of {FOLDS}")
            held = held[sample(len(held), ROWS, self.seed)]
            if len(held) and len(np.unique(truth[learned])) > 1:
                predicted = self._predictions(rows, truth, learned, held)  # (members, held)
                means = [self.losses(choice @ predicted, truth[held]).mean() for choice in [prior, *weights]]
                relative.append(np.array(means[1:]) / max(means[0], SMALLEST))
                counts.append(number if careful else 1)
        if not relative:
            return dict(zip(self.members, prior.tolist(), strict=True))
        scores = np.average(relative, axis=0, weights=counts) + careful * np.square(weights - prior).sum(axis=1)
        return dict(zip(self.members, weights[scores.argmin()].tolist(), strict=True))

    def _predictions(self, rows: pd.DataFrame, truth: np.ndarray, learned: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Return what members that learned from some rows predict for the held-out ones, `(members, held)`.

        That is a number, or the probability of the true class.
        """
        encoder = clone(self.encoder)
        encoded = encoder.fit_transform(rows.iloc[learned], truth[learned])
        asked, classes, found = encoder.transform(rows.iloc[held]), np.unique(truth), []
        for member in self.members.values():
            estimator = member.fitted(encoded, truth[learned], self.seed)
            if is_classifier(estimator):
                chances = probabilities(estimator, asked, classes)
                found.append(chances[np.arange(len(held)), np.searchsorted(classes, truth[held])])
            else:
                found.append(estimator.predict(asked))
        return np.array(found)


def folds(rows: pd.DataFrame, truth: np.ndarray, table: Table, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the places of rows to learn from and of rows held out, as the table's own split would hold them out.

    With a time: a few of the latest blocks, each predicted from what was before. With a group: whole groups. Else every
    row is held out once, each fold with the same shares of the target's values.
    """
    random, count = np.random.default_rng(seed), len(rows)
    if table.time:
        ranks = rows[table.time].rank(method="dense").to_numpy()
        block = np.ceil((ranks / ranks.max() - EARLIEST) / (1 - EARLIEST) * FOLDS).clip(0)
        for i in range(1, FOLDS + 1):
            yield np.flatnonzero(block < i), np.flatnonzero(block == i)
        return
    if table.group:
        codes, names = pd.factorize(rows[table.group])
        fold = random.permutation(len(names))[codes] % FOLDS
    else:
        fold = np.empty(count, int)
        fold[np.lexsort((random.random(count), truth))] = np.arange(count) % FOLDS
    for i in range(FOLDS):
        yield np.flatnonzero(fold != i), np.flatnonzero(fold == i)


def sample(count: int, limit: int | None, seed: int) -> np.ndarray | slice:
    """Return the places of `limit` of `count` rows, in their order; all of them if there are no more."""
    if limit is None or count <= limit:
        return slice(None)
    return np.sort(np.random.default_rng(seed).choice(count, limit, replace=False))


def probabilities(estimator: Any, encoded: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the probability of each of these classes, `(rows, classes)`, 0 for one that the estimator never saw."""
    found = np.zeros((len(encoded), len(classes)))
    found[:, np.searchsorted(classes, estimator.classes_)] = estimator.predict_proba(encoded)
    return found
