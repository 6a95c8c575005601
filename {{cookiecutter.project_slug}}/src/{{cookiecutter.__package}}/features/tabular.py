"""Encode table columns of any type as numeric features."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from .. import Refused
from ..datasets.table import Table

FEW = 20  # distinct values up to which a text column is one-hot encoded; above, it is target encoded
LINEAR_ROWS, FOREST_ROWS = 100_000, 20_000  # that such a model learns from at most
LEAVES, MORE_LEAVES, MANY = 15, 31, 50_000  # of a boosted tree, unless said; more from this many rows on
WIDEST = 300  # columns that one-hot encoding makes of all of them together at most
WORDS = 3  # in the mean value of a free text; above half of its values are distinct
HASHES, TOPICS = 4096, 16  # a free text becomes counts of hashed words, and these a few numbers
YEAR = 365.2425  # days
TRUSTED = (
    *(f"{__name__}.{step}" for step in ("calendar", "floats", "lines", "words")),
    "sklearn.model_selection._split.KFold",  # the cross-fitting of TargetEncoder
)


def encoder(
    rows: pd.DataFrame, table: Table, target: Literal["binary", "multiclass", "continuous"]
) -> ColumnTransformer:
    """Return an unfitted encoder of the table's features, chosen by the type of each column.

    Numbers and booleans pass through, dates become parts of the calendar, free texts topics, other columns are one-hot
    or target encoded. A column without any value in these rows is left out.

    Args:
        rows: Training rows, from which types and numbers of distinct values are read.
        table: The table that names the features.
        target: The type of the target, as TargetEncoder names it.

    Raises:
        Refused: No feature has a value, or the type of a column cannot be encoded.
    """
    columns: dict[str, list[str]] = {"numbers": [], "dates": [], "few": [], "many": [], "texts": []}
    for name in rows[table.features].dropna(axis="columns", how="all"):
        columns[_kind(rows[name])].append(name)
    if not any(columns.values()):
        raise Refused(f"table {table.name} has no feature with a value to learn from: declare one in data.py")
    distinct = rows[columns["few"]].nunique().sort_values(kind="stable")
    wide = list(distinct.index[distinct.cumsum() > WIDEST])
    columns["few"], columns["many"] = [name for name in columns["few"] if name not in wide], columns["many"] + wide
    texts = columns.pop("texts")
    chosen = [(name, step, columns[name]) for name, step in _steps(target).items() if columns[name]]
    return ColumnTransformer([*chosen, *((f"text {i}", _topics(), [name]) for i, name in enumerate(texts))])


def _steps(target: str) -> dict[str, Any]:
    """Return an unfitted transformer for each kind of column but free texts."""
    values = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    means = TargetEncoder(target_type=target, cv=KFold(5, shuffle=True, random_state=0))
    return {
        "numbers": FunctionTransformer(floats),
        "dates": FunctionTransformer(calendar),
        "few": make_pipeline(FunctionTransformer(words), values),
        "many": make_pipeline(FunctionTransformer(words), means),
    }


def _topics() -> Pipeline:
    """Return an unfitted transformer of one column of free text: latent semantic analysis of its words."""
    counts = HashingVectorizer(n_features=HASHES, alternate_sign=False, norm=None)
    return make_pipeline(
        FunctionTransformer(lines),
        counts,
        TfidfTransformer(sublinear_tf=True),
        TruncatedSVD(TOPICS, random_state=0),
    )


def scaler() -> Pipeline:
    """Return an unfitted imputer, which says what it filled, and standard scaler: a linear model needs both."""
    return make_pipeline(SimpleImputer(keep_empty_features=True, add_indicator=True), StandardScaler())


def boosting(params: Any, rows: int = 0) -> dict[str, Any]:
    """Return the arguments of a HistGradientBoosting estimator for this many rows; few are too few to stop early."""
    return {
        "learning_rate": params.learning_rate,
        "max_iter": params.rounds,
        "max_leaf_nodes": params.leaves or (LEAVES if rows < MANY else MORE_LEAVES),
        "early_stopping": rows >= MANY,
        "random_state": params.seed,
    }


def forest(params: Any) -> dict[str, Any]:
    """Return the arguments of an ExtraTrees estimator whose size is bounded; it is the same on any number of cores."""
    return {
        "n_estimators": 50,
        "min_samples_leaf": 3,
        "max_leaf_nodes": 2000,
        "max_features": 0.5,
        "n_jobs": -1,
        "random_state": params.seed,
    }


def floats(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers and booleans as floats, missing and infinite values as NaN: `(rows, columns)`."""
    found = np.empty(frame.shape, order="F")  # filled column by column: copies of all would be as large as the table
    for i, (_, values) in enumerate(frame.items()):
        numbers = values.astype("Float64").to_numpy(float, na_value=np.nan)
        found[:, i] = np.where(np.isfinite(numbers), numbers, np.nan)
    return found


def days(frame: pd.DataFrame) -> np.ndarray:
    """Return dates as days since 1970-01-01 UTC, missing ones as NaN: `(rows, columns)`."""
    origin = pd.Timestamp(0, tz="UTC")
    return frame.apply(lambda dates: (pd.to_datetime(dates, utc=True) - origin) / pd.Timedelta(days=1)).to_numpy(float)


def calendar(frame: pd.DataFrame) -> np.ndarray:
    """Return parts of dates: day, hour, weekday, month, season and, of several dates, age: `(rows, parts)`.

    Days are as `days` gives them, seasons the sine and cosine of the time of the year, ages days to the latest date of
    the row. A missing date has NaN in all of its parts.
    """
    numbers, found = days(frame), []
    for i, name in enumerate(frame):
        dates = pd.to_datetime(frame[name], utc=True).dt
        turn = 2 * np.pi * numbers[:, i] / YEAR
        found += [dates.hour + dates.minute / 60, dates.day_of_week, dates.month, np.sin(turn), np.cos(turn)]
    parts = np.column_stack([numbers, *(np.asarray(part, float) for part in found)])
    return parts if frame.shape[1] == 1 else np.hstack([parts, np.fmax.reduce(numbers, axis=1)[:, None] - numbers])


def lines(frame: pd.DataFrame) -> np.ndarray:
    """Return the only column as text, missing values as the empty text: `(rows,)`."""
    return words(frame)[:, 0]


def words(frame: pd.DataFrame) -> np.ndarray:
    """Return values as text, all numbers as floats, missing values as the empty text: `(rows, columns)`."""
    return frame.apply(_words).to_numpy(object)


def _words(values: pd.Series) -> pd.Series:
    plain = values.astype(object)
    if pd.api.types.infer_dtype(plain, skipna=True) in {"integer", "floating", "mixed-integer-float", "decimal"}:
        plain = pd.to_numeric(plain).astype("Float64")
    return plain.astype("string").fillna("")


def _kind(values: pd.Series) -> str:
    """Return the encoding of a column by its type; raise Refused for a type that has none."""
    if pd.api.types.is_timedelta64_dtype(values) or isinstance(values.dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise Refused(f"column {values.name!r} is a {values.dtype}: make it a number, a date or a text in data.py")
    if pd.api.types.is_datetime64_any_dtype(values):
        return "dates"
    if pd.api.types.is_numeric_dtype(values):
        return "numbers"
    distinct = values.nunique()
    if distinct > FEW and distinct > values.count() / 2 and _words(values).str.split().str.len().mean() >= WORDS:
        return "texts"
    return "few" if distinct <= FEW else "many"
