"""A fitted pipeline as plain array operations: the same predictions, without what a call of scikit-learn costs.

Only steps are known whose meaning is plain; the rest of a pipeline is asked as it is. Whoever serves the result
compares it with the pipeline first.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, softmax
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.ensemble._hist_gradient_boosting.predictor import TreePredictor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from ..registry.settings import PROJECT

COPIED = 1_000_000  # numbers up to which rows are copied for each tree
Arrays = Callable[[np.ndarray], np.ndarray]  # of encoded features, (rows, features)
Encoding = Callable[[pd.DataFrame], np.ndarray]
BLEND, FLOATS, WORDS = ((f"{PROJECT}.features.{place}") for place in ("blend.Blend", "tabular.floats", "tabular.words"))


class ArrayPipeline:
    """Stand in for a fitted pipeline where rows are predicted: `predict`, `predict_proba`, and else what it has."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Raise ValueError, or whatever a strange pipeline leads to, if there is no such way for it."""
        [(_, encoder), (_, last)] = pipeline.steps
        self._pipeline, self._encode = pipeline, _encoder(encoder)
        self._classifies = getattr(last, "classes_", None) is not None
        self._call = _call(last, "predict_proba" if self._classifies else "predict")

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the pipeline."""
        return getattr(self._pipeline, name)

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the predicted numbers or classes, `(rows,)`."""
        return self._pipeline.predict(rows) if self._classifies else self._call(self._encode(rows))

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        """Return the probability of each class, `(rows, classes)`."""
        return self._call(self._encode(rows)) if self._classifies else self._pipeline.predict_proba(rows)


def _encoder(encoder: ColumnTransformer) -> Encoding:
    """Return what encodes rows as a fitted ColumnTransformer does, whose parts are all dense."""
    parts = []
    for name, step, columns in encoder.transformers_:
        if not isinstance(columns, list) or (isinstance(step, str) and step != "drop"):
            raise ValueError(f"no arrays for {name}")
        if columns and step != "drop":
            parts.append(_part(step, columns))
    return lambda rows: np.hstack([part(rows) for part in parts])


def _part(step: Any, columns: list[str]) -> Encoding:
    """Return what encodes these columns as a fitted step does."""
    if _function(step) == FLOATS:
        return lambda rows: _floats(rows, columns, step)
    if isinstance(step, Pipeline) and len(step.steps) == 2 and _function(step.steps[0][1]) == WORDS:
        codes = _codes(step.steps[1][1])
        if codes is not None:
            return lambda rows: _coded(rows, columns, codes, step)
    return lambda rows: np.asarray(step.transform(rows[columns]))


def _floats(rows: pd.DataFrame, columns: list[str], step: Any) -> np.ndarray:
    """Return columns of floats as they are, NaN instead of infinite ones; others as the step makes them."""
    numbers = rows if list(rows) == columns else rows[columns]
    found = numbers.to_numpy()
    if found.dtype != float:
        return step.transform(numbers)
    return found if np.isfinite(found).all() else np.where(np.isfinite(found), found, np.nan)


def _codes(step: Any) -> list[tuple[dict[str, np.ndarray], np.ndarray]] | None:
    """Return for each column the code of every known text, `(features,)`, and that of any other; None if unknown."""
    if type(step) is OneHotEncoder and step.drop is None and not step._infrequent_enabled:
        lines = [np.eye(len(known)) for known in step.categories_]
        others = [np.zeros(len(known)) for known in step.categories_]
    elif type(step) is TargetEncoder:
        count = len(step.encodings_) // len(step.categories_)  # of numbers a column becomes
        lines = [np.array(step.encodings_[i * count : (i + 1) * count]).T for i in range(len(step.categories_))]
        others = [np.broadcast_to(step.target_mean_, count)] * len(lines)
    else:
        return None
    known = [dict(zip(texts, line, strict=True)) for texts, line in zip(step.categories_, lines, strict=True)]
    return [*zip(known, others, strict=True)]


def _coded(rows: pd.DataFrame, columns: list[str], codes: list[Any], step: Any) -> np.ndarray:
    """Return the codes of columns of texts; of others as the step makes them."""
    found = []
    for name, (known, other) in zip(columns, codes, strict=True):
        if not isinstance(rows[name].dtype, pd.StringDtype):
            return step.transform(rows[columns])
        texts = rows[name].to_numpy(object)
        found.append(np.array([known.get(text if isinstance(text, str) else "", other) for text in texts]))
    return np.hstack(found)


def _call(estimator: Any, name: str) -> Arrays:
    """Return what predicts as the fitted estimator's method of this name."""
    if _place(type(estimator)) == BLEND:
        return _blend(estimator, name)
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
        if joined and len(encoded) * len(trees) * encoded.shape[1] <= COPIED:
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


def _for_each(count: int, encoded: np.ndarray) -> np.ndarray:
    """Return every row once for each of so many trees, with the tree's number: `(rows * trees, features + 1)`."""
    rows, features = encoded.shape
    found = np.empty((rows, count, features + 1))
    found[:, :, :features], found[:, :, features] = encoded[:, None], np.arange(count)
    return found.reshape(rows * count, features + 1)


def _forest(model: Any) -> Arrays:
    """Return the mean of the trees."""
    trees = [tree.tree_ for tree in model.estimators_]
    width = len(model.classes_) if isinstance(model, ExtraTreesClassifier) else 1

    def mean(encoded: np.ndarray) -> np.ndarray:
        single = np.ascontiguousarray(encoded, np.float32)
        return sum(tree.predict(single).reshape(len(single), -1)[:, :width] for tree in trees) / len(trees)

    return mean if width > 1 else lambda encoded: mean(encoded)[:, 0]


def _chances(outputs: np.ndarray) -> np.ndarray:
    """Return the probability of each class, `(rows, classes)`, from one or several outputs."""
    if outputs.shape[1] > 1:
        return softmax(outputs, axis=1)
    second = expit(outputs)
    return np.hstack([1 - second, second])


def _function(step: Any) -> str:
    return _place(step.func) if type(step) is FunctionTransformer else ""


def _place(named: Any) -> str:
    return f"{named.__module__}.{named.__qualname__}"
