"""Encode table columns of any type as numeric features."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from .. import Refused
from ..datasets.table import Table

FEW = 20  # distinct values up to which a text column is one-hot encoded; above, it is target encoded
TRUSTED = (
    *(f"{__name__}.{step}" for step in ("floats", "days", "words")),
    "sklearn.model_selection._split.KFold",  # the cross-fitting of TargetEncoder
)


def encoder(
    rows: pd.DataFrame, table: Table, target: Literal["binary", "multiclass", "continuous"]
) -> ColumnTransformer:
    """Return an unfitted encoder of the table's features, chosen by the type of each column.

    Numbers and booleans pass through, dates become days, other columns are one-hot or target encoded. A column
    without any value in these rows is left out.

    Args:
        rows: Training rows, from which types and numbers of distinct values are read.
        table: The table that names the features.
        target: The type of the target, as TargetEncoder names it.

    Raises:
        Refused: No feature has a value, or the type of a column cannot be encoded.
    """
    columns: dict[str, list[str]] = {"numbers": [], "dates": [], "few": [], "many": []}
    for name in rows[table.features].dropna(axis="columns", how="all"):
        columns[_kind(rows[name])].append(name)
    if not any(columns.values()):
        raise Refused(f"table {table.name} has no feature with a value to learn from: declare one in data.py")
    values = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    means = TargetEncoder(target_type=target, cv=KFold(5, shuffle=True, random_state=0))
    steps = {
        "numbers": FunctionTransformer(floats),
        "dates": FunctionTransformer(days),
        "few": make_pipeline(FunctionTransformer(words), values),
        "many": make_pipeline(FunctionTransformer(words), means),
    }
    return ColumnTransformer([(name, steps[name], chosen) for name, chosen in columns.items() if chosen])


def scaler() -> Pipeline:
    """Return an unfitted imputer and standard scaler, which a linear model needs before it."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())


def boosting(params: Any) -> dict[str, Any]:
    """Return the arguments of a HistGradientBoosting estimator; early stopping is off."""
    return {
        "learning_rate": params.learning_rate,
        "max_iter": params.rounds,
        "max_leaf_nodes": params.leaves,
        "early_stopping": False,
        "random_state": params.seed,
    }


def floats(frame: pd.DataFrame) -> np.ndarray:
    """Return numbers and booleans as floats, missing and infinite values as NaN: `(rows, columns)`."""
    numbers = frame.astype("Float64").to_numpy(float, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def days(frame: pd.DataFrame) -> np.ndarray:
    """Return dates as days since 1970-01-01 UTC, missing ones as NaN: `(rows, columns)`."""
    origin = pd.Timestamp(0, tz="UTC")
    return frame.apply(lambda dates: (pd.to_datetime(dates, utc=True) - origin) / pd.Timedelta(days=1)).to_numpy(float)


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
    return "few" if values.nunique() <= FEW else "many"
