"""Columns of any kind -> numbers a model can learn from."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler, TargetEncoder

from .. import Refused
from ..table import Table

FEW = 20  # distinct values a column may have to get a column for each; more are encoded by their mean target
TRUSTED = (
    *(f"{__name__}.{step}" for step in ("floats", "days", "words")),
    "sklearn.model_selection._split.KFold",  # how TargetEncoder was fitted
)


def encoder(
    rows: pd.DataFrame, table: Table, target: Literal["binary", "multiclass", "continuous"]
) -> ColumnTransformer:
    """Not yet fitted: numbers and booleans as they are, dates as days, other columns by value or by mean target.

    A column without any value in these rows is left out.
    """
    columns: dict[str, list[str]] = {"numbers": [], "dates": [], "few": [], "many": []}
    for name in rows[table.features].dropna(axis="columns", how="all"):
        columns[_kind(rows[name])].append(name)
    if not any(columns.values()):
        raise Refused(f"table {table.name} has no feature with a value to learn from: see data.py")
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
    """Not yet fitted: what a linear model needs before it: no gaps, one scale."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())


def boosting(params: Any) -> dict[str, Any]:
    """What scikit-learn's boosted trees take of a model's parameters, all rounds of them."""
    return {
        "learning_rate": params.learning_rate,
        "max_iter": params.rounds,
        "max_leaf_nodes": params.leaves,
        "early_stopping": False,
        "random_state": params.seed,
    }


def floats(frame: pd.DataFrame) -> np.ndarray:
    """Numbers and booleans as floats; missing and infinite values as NaN."""
    numbers = frame.astype("Float64").to_numpy(float, na_value=np.nan)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def days(frame: pd.DataFrame) -> np.ndarray:
    """Dates as days since 1970; missing ones as NaN."""
    origin = pd.Timestamp(0, tz="UTC")
    return frame.apply(lambda dates: (pd.to_datetime(dates, utc=True) - origin) / pd.Timedelta(days=1)).to_numpy(float)


def words(frame: pd.DataFrame) -> np.ndarray:
    """Values as text, numbers all written as floats, a missing value as the empty text."""
    return frame.apply(_words).to_numpy(object)


def _words(values: pd.Series) -> pd.Series:
    plain = values.astype(object)
    if pd.api.types.infer_dtype(plain, skipna=True) in {"integer", "floating", "mixed-integer-float", "decimal"}:
        plain = pd.to_numeric(plain).astype("Float64")
    return plain.astype("string").fillna("")


def _kind(values: pd.Series) -> str:
    """How the column is encoded; raises Refused for what has no sensible number."""
    if pd.api.types.is_timedelta64_dtype(values) or isinstance(values.dtype, pd.PeriodDtype | pd.IntervalDtype):
        raise Refused(f"column {values.name!r} is a {values.dtype}: make it a number, a date or a text in data.py")
    if pd.api.types.is_datetime64_any_dtype(values):
        return "dates"
    if pd.api.types.is_numeric_dtype(values):
        return "numbers"
    return "few" if values.nunique() <= FEW else "many"
