"""Functions that forecasters of release 0.3 take from `seasons`; removed in 1.0."""

import numpy as np
import pandas as pd


def trimmed(values: pd.DataFrame) -> dict[str, pd.Series]:
    """Return each series of a `(times, series)` frame from its first to its last known value."""
    return {
        name: values[name].loc[values[name].first_valid_index() : values[name].last_valid_index()] for name in values
    }


def filled(values: np.ndarray) -> np.ndarray:
    """Return the values, `(steps,)`, with gaps interpolated linearly and missing ends set to the nearest value."""
    known = np.flatnonzero(np.isfinite(values))
    return np.interp(np.arange(len(values)), known, values[known])


def long(histories: list[tuple[pd.Timestamp, np.ndarray]], frequency: str, min_length: int) -> pd.DataFrame:
    """Return histories in long format, with mlforecast's columns `unique_id` (the position), `ds` and `y`.

    A history shorter than `min_length` is padded at its start with its first value.
    """
    padded = [(end, np.pad(own, (max(0, min_length - len(own)), 0), mode="edge")) for end, own in histories]
    grids = [pd.date_range(end=end, periods=len(own), freq=frequency) for end, own in padded]
    places = np.repeat(np.arange(len(padded)), [len(own) for _, own in padded])
    return pd.DataFrame(
        {"unique_id": places, "ds": np.concatenate(grids), "y": np.concatenate([own for _, own in padded])}
    )


def mean_absolute_change(histories: list[tuple[pd.Timestamp, np.ndarray]]) -> np.ndarray:
    """Return the mean absolute difference of consecutive values, `(histories,)`, positive also for constant ones."""
    return np.array([max(np.abs(np.diff(values)).mean(), 1e-9) for _, values in histories])


def extrapolated(method: str, histories: list[tuple[pd.Timestamp, np.ndarray]], count: int, season: int) -> np.ndarray:
    """Return the naive, seasonal naive or drift forecast of `count` steps, `(histories, count)`."""
    last = np.array([values[-1] for _, values in histories])  # (histories,)
    ahead = np.arange(1, count + 1)  # (count,)
    if method == "naive":
        return np.repeat(last[:, None], count, axis=1)
    if method == "drift":
        slopes = [(values[-1] - values[0]) / (len(values) - 1) for _, values in histories]
        return last[:, None] + np.outer(slopes, ahead)
    cycles = [values[-season:] for _, values in histories]
    return np.array([cycle[(ahead - 1) % len(cycle)] for cycle in cycles])
