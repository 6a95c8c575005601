"""The columns of requests as numeric features: as a fitted ColumnTransformer makes them, without what its calls cost.

Columns of a kind that is not known here, and steps, are left to the ColumnTransformer's own.
"""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, TargetEncoder
from sklearn.utils import murmurhash3_32

from ..registry.settings import PROJECT
from .plain_rows import Columns

FLOATS, CALENDAR, WORDS, LINES = (
    f"{PROJECT}.features.tabular.{name}" for name in ("floats", "calendar", "words", "lines")
)
YEAR = 365.2425  # days
DAY = np.timedelta64(1, "D")
TOPICS = [HashingVectorizer, TfidfTransformer, TruncatedSVD]


class FrameColumns:
    """The columns of a frame as `Columns` gives them."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self.rows = rows

    def floats(self, names: list[str]) -> np.ndarray:
        """Return numbers, `(rows, names)`; raise KeyError if these columns are no plain ones."""
        found = self.frame(names).to_numpy()
        if found.dtype != float:
            raise KeyError(names[0])
        return found

    def texts(self, name: str) -> list[Any]:
        """Return a column of texts; raise KeyError for any other."""
        if not isinstance(self.rows[name].dtype, pd.StringDtype):
            raise KeyError(name)
        return self.rows[name].to_numpy(object).tolist()

    def dates(self, name: str) -> np.ndarray:
        """Return a column of dates without a zone, `(rows,)`; raise KeyError for any other."""
        if self.rows[name].dtype.kind != "M" or not isinstance(self.rows[name].dtype, np.dtype):
            raise KeyError(name)
        return self.rows[name].to_numpy()

    def frame(self, names: list[str]) -> pd.DataFrame:
        """Return these columns."""
        return self.rows if list(self.rows) == names else self.rows[names]


Encoding = Callable[[Columns | FrameColumns], np.ndarray]  # (rows, features)


def encoding(encoder: ColumnTransformer) -> Encoding:
    """Return what encodes rows as a fitted ColumnTransformer does, whose parts are all dense."""
    parts = []
    for name, step, columns in encoder.transformers_:
        if not isinstance(columns, list) or (isinstance(step, str) and step != "drop"):
            raise ValueError(f"no arrays for {name}")
        if columns and step != "drop":
            parts.append(_part(step, columns))
    return lambda rows: np.hstack([part(rows) for part in parts])


def _part(step: Any, columns: list[str]) -> Encoding:
    """Return what encodes these columns as a fitted step does; columns of another kind are left to the step."""
    short = _short(step)

    def encoded(rows: Columns | FrameColumns) -> np.ndarray:
        if short:
            with suppress(KeyError):
                return short(rows, columns)
        return np.asarray(step.transform(rows.frame(columns)))

    return encoded


def _short(step: Any) -> Callable[[Columns | FrameColumns, list[str]], np.ndarray] | None:
    """Return what encodes columns of the kind that a step is for; None if that is not known."""
    if found := {FLOATS: _finite, CALENDAR: _calendar}.get(_function(step)):
        return found
    if isinstance(step, Pipeline) and len(step.steps) == 2 and _function(step.steps[0][1]) == WORDS:
        codes = _codes(step.steps[1][1])
        return partial(_coded, codes=codes) if codes else None
    if isinstance(step, Pipeline) and [type(each) for _, each in step.steps[1:]] == TOPICS:
        return _topics(*(each for _, each in step.steps))
    return None


def _finite(rows: Columns | FrameColumns, columns: list[str]) -> np.ndarray:
    """Return numbers as they are, NaN instead of infinite ones."""
    found = rows.floats(columns)
    return found if np.isfinite(found).all() else np.where(np.isfinite(found), found, np.nan)


def _calendar(rows: Columns | FrameColumns, columns: list[str]) -> np.ndarray:
    """Return parts of dates, as `tabular.calendar` does."""
    found, all_days = [], []
    for name in columns:
        dates = rows.dates(name)
        missing, start = np.isnat(dates), dates.astype("datetime64[D]")
        day, days = start.astype(float), (dates - np.datetime64(0, "us")) / DAY
        minutes = (dates - start).astype("timedelta64[m]").astype(float)
        turn = 2 * np.pi * days / YEAR
        month = start.astype("datetime64[M]").astype(int) % 12 + 1
        parts = [minutes // 60 + minutes % 60 / 60, (day + 3) % 7, month, np.sin(turn), np.cos(turn)]
        found += [np.where(missing, np.nan, part) for part in parts]
        all_days.append(days)
    days = np.column_stack(all_days)
    ages = [np.fmax.reduce(days, axis=1)[:, None] - days] if len(columns) > 1 else []
    return np.hstack([days, np.column_stack(found), *ages])


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


def _coded(rows: Columns | FrameColumns, columns: list[str], codes: list[Any]) -> np.ndarray:
    """Return the codes of columns of texts."""
    found = []
    for name, (known, other) in zip(columns, codes, strict=True):
        texts = rows.texts(name)
        found.append(np.array([known.get(text if isinstance(text, str) else "", other) for text in texts]))
    return np.hstack(found)


def _topics(
    lines: FunctionTransformer, hashing: HashingVectorizer, weighing: TfidfTransformer, topics: TruncatedSVD
) -> Callable[[Columns | FrameColumns, list[str]], np.ndarray] | None:
    """Return what makes topics of a column of free texts; None if its words are counted or weighed otherwise."""
    plain = (hashing.alternate_sign, hashing.norm, hashing.binary) == (False, None, False)
    if _function(lines) != LINES or not plain or (weighing.sublinear_tf, weighing.norm) != (True, "l2"):
        return None
    words_of, size, idf, components = hashing.build_analyzer(), hashing.n_features, weighing.idf_, topics.components_

    def encoded(rows: Columns | FrameColumns, columns: list[str]) -> np.ndarray:
        texts = rows.texts(columns[0])
        found = np.zeros((len(texts), len(components)))
        for i, text in enumerate(texts):
            counts = Counter(
                abs(murmurhash3_32(word)) % size for word in words_of(text if isinstance(text, str) else "")
            )
            if counts:
                places = [*counts]
                weights = (1 + np.log([*counts.values()])) * idf[places]
                found[i] = components[:, places] @ (weights / np.linalg.norm(weights))
        return found

    return encoded


def _function(step: Any) -> str:
    """Return where the function of a step is; empty if it has none."""
    return f"{step.func.__module__}.{step.func.__qualname__}" if type(step) is FunctionTransformer else ""
