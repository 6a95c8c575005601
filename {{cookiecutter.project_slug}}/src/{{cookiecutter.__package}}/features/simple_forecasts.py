"""Forecasts of many histories at once by well-known simple methods, in NumPy.

Histories are rows of one array, `(histories, window)`: the last value is in the last column, a shorter history begins
with NaN, and there is no other gap.
"""

import numpy as np
from scipy.signal import lfilter

BASELINES = ("naive", "seasonal naive", "drift", "theta")
CYCLES = 4  # seasons whose mean is a forecast
SPAN = 6  # changes at least, from which the recent volatility of a history is measured
SMOOTHING = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99])  # of exponential smoothing
SEASONAL_SMOOTHING = np.array([0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
SEASONAL = 1.645  # standard errors of the autocorrelation from which on a history counts as seasonal


def simple_forecasts(values: np.ndarray, count: int, season: int, long_season: int = 0) -> dict[str, np.ndarray]:
    """Return the forecast of each method, by its name, `(histories, count)`; those of BASELINES first.

    Args:
        values: The histories, `(histories, window)`.
        count: Steps to forecast.
        season: Length of the season, in steps.
        long_season: Length of a second, longer season, such as the week of hourly values; 0: there is none.
    """
    naive = np.repeat(values[:, -1:], count, axis=1)
    cycles = _last_cycles(values, season, count)  # (cycles, histories, count)
    seasonal = _first_known(cycles[0], naive)
    found = {
        "naive": naive,
        "seasonal naive": seasonal,
        "drift": naive + np.outer(_slopes(values), np.arange(1, count + 1)),
        "theta": theta(values, count, season),
        "mean of seasons": _first_known(_mean(cycles, 0), seasonal),
        "mean": np.repeat(_mean(values[:, -CYCLES * max(season, 2) :], 1)[:, None], count, axis=1),
    }
    if season > 1:
        found["level and season"] = found["mean of seasons"] + _level_shift(values, season, season, CYCLES)[:, None]
    if long_season:
        longer = _last_cycles(values, long_season, count)
        found["long seasonal naive"] = _first_known(longer[0], seasonal)
        found["mean of long seasons"] = _first_known(_mean(longer, 0), found["mean of seasons"])
        found["smoothed long seasons"] = _first_known(_smoothed_cycles(values, long_season, count), seasonal)
        shift = _level_shift(values, season, long_season, 1)
        found["level and long season"] = found["long seasonal naive"] + shift[:, None]
        found["long theta"] = theta(values, count, long_season)
    return found


def scales(values: np.ndarray, season: int) -> np.ndarray:
    """Return the mean absolute seasonal difference of each history, `(histories,)`.

    Where it is undefined or 0: the mean absolute change from step to step, else the mean absolute value, else 1.
    """
    found = np.full(len(values), np.nan)
    for step in (season, 1):
        changes = np.abs(values[:, step:] - values[:, :-step])
        found = np.where(found > 0, found, _mean(changes, 1))
    found = np.where(found > 0, found, _mean(np.abs(values), 1))
    return np.where(found > 0, found, 1.0)


def recent_changes(values: np.ndarray, season: int, horizon: int) -> np.ndarray:
    """Return how much each history changed lately, `(histories, 3)`, NaN where that is unknown.

    The mean absolute seasonal difference over the last span and over the last CYCLES of them, a span being the season
    or the horizon, whichever is longer, and the mean absolute change from step to step over the last horizon.
    """
    span, short = max(season, horizon, SPAN), max(horizon, SPAN)
    seasonal, single = (np.abs(values[:, step:] - values[:, :-step]) for step in (season, 1))
    parts = (seasonal[:, -span:], seasonal[:, -CYCLES * span :], single[:, -short:])
    return np.column_stack([_mean(part, 1) for part in parts])


def bridged(values: np.ndarray, season: int) -> np.ndarray:
    """Return the histories with their gaps filled, `(histories, window)`; what precedes the first value stays NaN.

    A gap takes the mean of the nearest known values whole seasons before and after it, else of the line between its
    neighbours; one at the end takes the last known value.
    """
    known = np.isfinite(values)
    gaps = np.logical_or.accumulate(known, axis=1) & ~known
    if not gaps.any():
        return values
    found = values.copy()
    rows = np.flatnonzero(gaps.any(axis=1))
    if season > 1:
        sides = np.array([_carried(values[rows], season), _carried(values[rows][:, ::-1], season)[:, ::-1]])
        found[rows] = np.where(gaps[rows], _mean(sides, 0), found[rows])
    for row in rows[(gaps[rows] & ~np.isfinite(found[rows])).any(axis=1)]:
        known_at = np.flatnonzero(np.isfinite(found[row]))
        at = np.arange(known_at[0], values.shape[1])
        found[row, at] = np.interp(at, known_at, found[row, known_at])
    return found


def _carried(values: np.ndarray, season: int) -> np.ndarray:
    """Return the values, each gap with the last known value whole seasons before it."""
    found = values.copy()
    for start in range(season, values.shape[1], season):
        block = found[:, start : start + season]
        block[:] = _first_known(block, found[:, start - season : start - season + block.shape[1]])
    return found


def theta(values: np.ndarray, count: int, season: int) -> np.ndarray:
    """Return the forecast by the Theta method, `(histories, count)`.

    The mean of a line's and of exponential smoothing's forecast of the deseasonalised values. See Assimakopoulos and
    Nikolopoulos (2000), "The theta model: a decomposition approach to forecasting".
    """
    known = np.isfinite(values)
    length = known.sum(axis=1)  # (histories,)
    padded = np.where(known, values, values[np.arange(len(values)), -length][:, None])
    positive = (padded > 0).all(axis=1)[:, None]  # (histories, 1)
    factors = _seasonal_factors(padded, known, positive, season)  # (histories, season), the last one of the last value
    which = np.arange(-values.shape[1], 0) % season
    divisors = np.where(positive, factors, 1.0)[:, which]
    adjusted = np.where(positive, padded / divisors, padded - factors[:, which])
    slopes = _slopes_of_lines(adjusted, known)
    level, smoothing = _smoothed(adjusted)
    damping = (1 - (1 - smoothing) ** length) / smoothing
    ahead = np.arange(count)
    trend = level[:, None] + slopes[:, None] / 2 * (ahead + damping[:, None])
    later = factors[:, ahead % season]
    return np.where(positive, trend * later, trend + later)


def _last_cycles(values: np.ndarray, season: int, count: int) -> np.ndarray:
    """Return the values one to CYCLES seasons before each step ahead, `(cycles, histories, count)`, NaN if unknown."""
    short = max(0, CYCLES * season - values.shape[1])
    padded = np.pad(values, ((0, 0), (short, 0)), constant_values=np.nan)[:, -CYCLES * season :]
    cycles = padded.reshape(len(values), CYCLES, season)[:, ::-1].transpose(1, 0, 2)  # the last one first
    return cycles[:, :, np.arange(count) % season]


def _level_shift(values: np.ndarray, width: int, season: int, cycles: int) -> np.ndarray:
    """Return how much the mean of the last `width` values is above that of the same steps some seasons ago.

    Args:
        values: The histories, `(histories, window)`.
        width: Of each mean, in steps.
        season: How far apart the means are, in steps.
        cycles: How many earlier means are averaged; with season = width, the last one is among them.
    """
    first = 0 if season == width else 1
    ends = [values.shape[1] - season * i for i in range(first, first + cycles)]
    means = [_mean(values[:, end - width : end], 1) for end in ends if end >= width]
    if not means:
        return np.zeros(len(values))
    shift = _mean(values[:, -width:], 1) - _mean(np.array(means), 0)
    return np.where(np.isfinite(shift), shift, 0.0)


def _smoothed_cycles(values: np.ndarray, season: int, count: int) -> np.ndarray:
    """Return for each step ahead the exponentially smoothed value at its place in the season, `(histories, count)`.

    NaN where a history has no value at that place.
    """
    cycles = values.shape[1] // season
    if not cycles:
        return np.full((len(values), count), np.nan)
    seen = values[:, -cycles * season :].reshape(len(values), cycles, season)
    known = np.isfinite(seen)
    first = np.take_along_axis(seen, np.argmax(known, axis=1)[:, None], axis=1)  # (histories, 1, season)
    seen = np.where(known, seen, first)
    whole = np.where(np.isfinite(seen), seen, 0.0)
    best, found = np.full(len(values), np.inf), whole[:, -1].copy()
    for smoothing in SEASONAL_SMOOTHING:
        levels, _ = lfilter([smoothing], [1, smoothing - 1], whole, axis=1, zi=(1 - smoothing) * whole[:, :1])
        error = np.abs(whole[:, 1:] - levels[:, :-1]).reshape(len(values), -1).sum(axis=1)
        better = error < best
        best, found = np.where(better, error, best), np.where(better[:, None], levels[:, -1], found)
    return np.where(np.isfinite(seen[:, -1]), found, np.nan)[:, np.arange(count) % season]


def _first_known(first: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(first), first, other)


def _mean(values: np.ndarray, axis: int) -> np.ndarray:
    """Return the mean of the known values along an axis, NaN where there is none."""
    known = np.isfinite(values)
    counts = known.sum(axis=axis)
    return np.where(counts > 0, np.where(known, values, 0.0).sum(axis=axis) / np.maximum(counts, 1), np.nan)


def _slopes(values: np.ndarray) -> np.ndarray:
    """Return the mean change of a step from the first to the last known value, `(histories,)`."""
    length = np.isfinite(values).sum(axis=1)
    return (values[:, -1] - values[np.arange(len(values)), -length]) / np.maximum(length - 1, 1)


def _slopes_of_lines(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the slope of the least-squares line through the known values, `(histories,)`."""
    at = np.arange(values.shape[1]) - np.where(known, np.arange(values.shape[1]), 0).sum(axis=1, keepdims=True) / (
        known.sum(axis=1, keepdims=True)
    )
    at = np.where(known, at, 0.0)
    return (at * values).sum(axis=1) / np.maximum((at**2).sum(axis=1), 1e-12)


def _smoothed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the last level of simple exponential smoothing and its parameter, `(histories,)`.

    The parameter is the one of SMOOTHING with the smallest squared error of one step.
    """
    best = np.full(len(values), np.inf)
    level, chosen = values[:, -1].copy(), np.ones(len(values))
    for smoothing in SMOOTHING:
        start = (1 - smoothing) * values[:, :1]
        levels, _ = lfilter([smoothing], [1, smoothing - 1], values, axis=1, zi=start)
        error = np.square(values[:, 1:] - levels[:, :-1]).sum(axis=1)
        better = error < best
        best, level = np.where(better, error, best), np.where(better, levels[:, -1], level)
        chosen = np.where(better, smoothing, chosen)
    return level, chosen


def _seasonal_factors(values: np.ndarray, known: np.ndarray, positive: np.ndarray, season: int) -> np.ndarray:
    """Return the factors, or for histories with values below 0 the terms, of a classical decomposition.

    Returns:
        For each step of a season, `(histories, season)`, that of the step after the last value first; neutral where a
        history has no season.
    """
    neutral = np.where(positive, 1.0, 0.0)
    width = values.shape[1]
    if season == 1 or width <= 2 * season:
        return np.repeat(neutral, season, axis=1)
    trend = _moving_mean(values, season)  # (histories, width - season + 1 - even)
    first = season // 2
    inner = slice(first, first + trend.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(positive, values[:, inner] / trend, values[:, inner] - trend)
    complete = known[:, : trend.shape[1]]  # no padding in the mean
    cycles = np.full((len(values), -(-width // season) * season), np.nan)
    offset = cycles.shape[1] - width + first
    cycles[:, offset : offset + trend.shape[1]] = np.where(complete, ratio, np.nan)
    found = _mean(cycles.reshape(len(values), -1, season), 1)  # (histories, season)
    middle = found.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(positive, found / middle, found - middle)
    good = np.isfinite(found).all(axis=1) & ((found > 0) | ~positive).all(axis=1) & _is_seasonal(values, known, season)
    return np.where(good[:, None], found, neutral)


def _moving_mean(values: np.ndarray, season: int) -> np.ndarray:
    """Return the centred moving mean over a season, `(histories, window - season + 1)`, one less for an even season."""
    sums = np.cumsum(np.pad(values, ((0, 0), (1, 0))), axis=1)
    means = (sums[:, season:] - sums[:, :-season]) / season
    return means if season % 2 else (means[:, 1:] + means[:, :-1]) / 2


def _is_seasonal(values: np.ndarray, known: np.ndarray, season: int) -> np.ndarray:
    """Return whether the autocorrelation at a season's lag differs from 0, boolean `(histories,)`."""
    length = known.sum(axis=1)
    centre = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / length[:, None]
    apart = np.where(known, values - centre, 0.0)
    variance = np.maximum((apart**2).sum(axis=1), 1e-300)
    size = 2 ** int(np.ceil(np.log2(2 * values.shape[1])))
    power = np.abs(np.fft.rfft(apart, size, axis=1)) ** 2
    correlations = np.fft.irfft(power, size, axis=1)[:, 1 : season + 1] / variance[:, None]  # (histories, season)
    error = np.sqrt((1 + 2 * (correlations[:, :-1] ** 2).sum(axis=1)) / length)
    return (np.abs(correlations[:, -1]) > SEASONAL * error) & (length > 2 * season)
