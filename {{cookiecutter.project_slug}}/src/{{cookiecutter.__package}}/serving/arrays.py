"""A fitted pipeline as plain array operations: the same predictions, without what a call of scikit-learn costs.

Only steps are known whose meaning is plain; the rest of a pipeline is asked as it is. Whoever serves the result
compares it with the pipeline first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.ensemble._hist_gradient_boosting.common import PREDICTOR_RECORD_DTYPE
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ..registry.settings import PROJECT
from .encodings import FrameColumns, encoding
from .plain_rows import Columns

COPIED = 1_000_000  # numbers up to which rows are copied for each tree
BLEND, CORRECTED = (f"{PROJECT}.features.blend.{name}" for name in ("Blend", "Corrected"))

Arrays = Callable[[np.ndarray], np.ndarray]  # of encoded features, (rows, features)


class ArrayPipeline:
    """Stand in for a fitted pipeline where rows are predicted: `predict`, `predict_proba`, and else what it has."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Raise ValueError, or whatever a strange pipeline leads to, if there is no such way for it."""
        [(_, encoder), (_, last)] = pipeline.steps
        self._pipeline, self._encode = pipeline, encoding(encoder)
        self._classifies = getattr(last, "classes_", None) is not None
        self._call = _call(last, "predict_proba" if self._classifies else "predict")

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the pipeline."""
        return getattr(self._pipeline, name)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the predicted numbers or classes, `(rows,)`."""
        return self._pipeline.predict(rows) if self._classifies else self._call(self._encode(FrameColumns(rows)))

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class, `(rows, classes)`."""
        return self._call(self._encode(FrameColumns(rows))) if self._classifies else self._pipeline.predict_proba(rows)

    def records(self, rows: Columns, names: list[str]) -> list[dict[str, Any]]:
        """Return the answers without a frame: the number, or the most probable class and all probabilities.

        Args:
            rows: The rows.
            names: Of what an answer holds, in this order.

        Raises:
            ValueError: An answer is not finite, or holds more or less than these names.
        """
        found = self._call(self._encode(rows))
        if not np.isfinite(found).all():
            raise ValueError("an answer is not finite")
        columns = found.reshape(len(rows), -1).T.tolist()
        if self._classifies:
            columns = [self._pipeline.classes_[found.argmax(axis=1)].tolist(), *columns]
        if len(columns) != len(names):
            raise ValueError(f"{len(columns)} columns of answers, but {len(names)} names")
        return [dict(zip(names, line, strict=True)) for line in zip(*columns, strict=True)]


def _call(estimator: Any, name: str) -> Arrays:
    """Return what predicts as the fitted estimator's method of this name."""
    place = f"{type(estimator).__module__}.{type(estimator).__qualname__}"
    if place == BLEND:
        return _blend(estimator, name)
    if place == CORRECTED:
        first, second = _call(estimator.first_, name), _call(estimator.second_, name)
        return lambda encoded: first(encoded) + second(encoded)
    kinds = {
        (DummyClassifier, "predict_proba"): _frequencies,
        (DummyRegressor, "predict"): _constant,
        (Pipeline, "predict"): _linear,
        (Pipeline, "predict_proba"): _linear,
        (HistGradientBoostingClassifier, "predict_proba"): _boosted,
        (HistGradientBoostingRegressor, "predict"): _boosted,
        (ExtraTreesClassifier, "predict_proba"): _forest,
        (ExtraTreesRegressor, "predict"): _forest,
    }
    make = kinds.get((type(estimator), name))
    return make(estimator) if make else getattr(estimator, name)


def _blend(blend: Any, name: str) -> Arrays:
    """Return the weighted mean of the members' predictions."""
    calls = [(_call(member, name), weight) for member, weight in zip(blend.members, blend.weights, strict=True)]
    if name == "predict":
        return lambda encoded: sum(weight * call(encoded) for call, weight in calls)
    if any(list(member.classes_) != list(blend.classes_) for member in blend.members):
        raise ValueError("a member knows fewer classes")
    return lambda encoded: sum(weight * call(encoded) for call, weight in calls)


def _frequencies(dummy: DummyClassifier) -> Arrays:
    if dummy.strategy != "prior":
        raise ValueError("not the classes' frequencies")
    return lambda encoded: np.tile(dummy.class_prior_, (len(encoded), 1))


def _constant(dummy: DummyRegressor) -> Arrays:
    return lambda encoded: np.full(len(encoded), dummy.constant_.item())


def _linear(steps: Pipeline) -> Arrays:
    """Return a linear model of imputed and scaled features."""
    [(_, scaling), (_, model)] = steps.steps
    [(_, imputer), (_, scaler)] = scaling.steps
    if (type(imputer), type(scaler)) != (SimpleImputer, StandardScaler):
        raise ValueError("scaled otherwise")
    if type(model) not in (LogisticRegression, RidgeCV):
        raise ValueError("not a linear model that is known")
    flagged = imputer.indicator_.features_ if imputer.add_indicator else np.empty(0, int)
    weights = np.atleast_2d(model.coef_).T  # (features, outputs)

    def outputs(encoded: np.ndarray) -> np.ndarray:
        missing = np.isnan(encoded)
        filled = np.where(missing, imputer.statistics_, encoded)
        scaled = (np.hstack([filled, missing[:, flagged]]) - scaler.mean_) / scaler.scale_
        return scaled @ weights + model.intercept_  # (rows, outputs)

    if type(model) is RidgeCV:
        return lambda encoded: outputs(encoded)[:, 0]
    return lambda encoded: _chances(outputs(encoded))


def _boosted(model: Any) -> Arrays:
    """Return the sum of boosted trees, by scikit-learn's own compiled trees, in one thread."""
    if isinstance(model, HistGradientBoostingRegressor) and model.loss != "squared_error":
        raise ValueError("its trees do not sum to the prediction")
    start, trees = model._baseline_prediction, [tree for line in model._predictors for tree in line]
    categories = model._bin_mapper.make_known_categories_bitsets()
    joined = _joined(trees, model.n_features_in_)

    def outputs(encoded: np.ndarray) -> np.ndarray:
        if joined and _is_small(len(trees), encoded):
            found = joined.predict(_for_each(len(trees), encoded), *categories, 1)
        else:
            found = np.column_stack([tree.predict(encoded, *categories, 1) for tree in trees])
        return start + found.reshape(len(encoded), -1, start.shape[1]).sum(axis=1)  # (rows, outputs)

    if isinstance(model, HistGradientBoostingRegressor):
        return lambda encoded: outputs(encoded)[:, 0]
    return lambda encoded: _chances(outputs(encoded))


def _joined(trees: list[Any], features: int) -> TreePredictor | None:
    """Return one tree of all trees: a call of each costs more than few rows do; None if a split is by category.

    It goes to the tree that a further feature gives the number of, by nodes in front of those of the trees.
    """
    if len(trees) < 2 or any(tree.nodes["is_categorical"].any() for tree in trees):
        return None
    ways = np.zeros(len(trees) - 1, trees[0].nodes.dtype)
    starts = np.cumsum([len(ways), *(len(tree.nodes) for tree in trees)])
    fresh = iter(range(len(ways)))

    def way_to(first: int, end: int) -> int:
        """Return the node from which the trees of these numbers are reached."""
        if end - first == 1:
            return starts[first]
        place, middle = next(fresh), (first + end) // 2
        ways[place]["feature_idx"], ways[place]["num_threshold"] = features, middle - 0.5
        ways[place]["left"], ways[place]["right"] = way_to(first, middle), way_to(middle, end)
        return place

    way_to(0, len(trees))
    parts = [tree.nodes.copy() for tree in trees]
    for part, start in zip(parts, starts[:-1], strict=True):
        part["left"], part["right"] = part["left"] + start, part["right"] + start
    return TreePredictor(np.concatenate([ways, *parts]), *[np.zeros((0, 8), np.uint32)] * 2)


def _is_small(count: int, encoded: np.ndarray) -> bool:
    """Return whether the rows are few enough to be copied for each of so many trees."""
    return encoded.size * count <= COPIED


def _for_each(count: int, encoded: np.ndarray) -> np.ndarray:
    """Return every row once for each of so many trees, with the tree's number: `(rows * trees, features + 1)`."""
    rows, features = encoded.shape
    found = np.empty((rows, count, features + 1))
    found[:, :, :features], found[:, :, features] = encoded[:, None], np.arange(count)
    return found.reshape(rows * count, features + 1)


def _forest(model: Any) -> Arrays:
    """Return the mean of the trees, by the compiled trees of boosting: a walk leads to the number of a leaf."""
    trees = [tree.tree_ for tree in model.estimators_]
    width = len(model.classes_) if isinstance(model, ExtraTreesClassifier) else 1
    values = np.concatenate([tree.value.reshape(tree.node_count, -1)[:, :width] for tree in trees])  # (nodes, outputs)
    starts = np.cumsum([0, *(tree.node_count for tree in trees)])
    walks = [_walk(tree, start) for tree, start in zip(trees, starts[:-1], strict=True)]
    joined, known = _joined(walks, model.n_features_in_), (np.zeros((0, 8), np.uint32), np.zeros(0, np.uint32))

    def mean(encoded: np.ndarray) -> np.ndarray:
        single = encoded.astype(np.float32).astype(float)  # as scikit-learn's own trees see them
        if joined and _is_small(len(trees), single):
            leaves = joined.predict(_for_each(len(trees), single), *known, 1).reshape(len(single), -1)
        else:
            leaves = np.column_stack([walk.predict(single, *known, 1) for walk in walks])
        return values[leaves.astype(int)].mean(axis=1)  # (rows, outputs)

    return mean if width > 1 else lambda encoded: mean(encoded)[:, 0]


def _walk(tree: Any, start: int) -> TreePredictor:
    """Return a tree whose leaves have as values their numbers, counted from `start`."""
    nodes = np.zeros(tree.node_count, PREDICTOR_RECORD_DTYPE)
    nodes["feature_idx"], nodes["num_threshold"] = np.maximum(tree.feature, 0), tree.threshold
    nodes["left"], nodes["right"] = np.maximum(tree.children_left, 0), np.maximum(tree.children_right, 0)
    nodes["missing_go_to_left"], nodes["is_leaf"] = tree.missing_go_to_left, tree.children_left < 0
    nodes["value"] = np.arange(start, start + tree.node_count)
    return TreePredictor(nodes, *[np.zeros((0, 8), np.uint32)] * 2)


def _chances(outputs: np.ndarray) -> np.ndarray:
    """Return the probability of each class, `(rows, classes)`, from one or several outputs."""
    if outputs.shape[1] > 1:
        return softmax(outputs, axis=1)
    second = expit(outputs)
    return np.hstack([1 - second, second])
