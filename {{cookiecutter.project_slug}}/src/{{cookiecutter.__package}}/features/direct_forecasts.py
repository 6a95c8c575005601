"""One global model of many series: simple forecasts, weighed, and boosted trees that see them and the calendar.

It is direct: each step ahead is forecast from the values up to the origin, never from a forecast.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from sklearn.ensemble import HistGradientBoostingRegressor

from .seasons import MIN_HISTORY, Frequency, Panel
from .simple_forecasts import bridged, recent_changes, scales, simple_forecasts

EXAMPLES = 40_000  # from which a model learns, whatever the number of series and their length
STEPS = 12  # ahead of one origin that become examples
RECENT = 0.3  # share of all time after which an origin is half as likely to become an example
LAST = 3  # values before the origin that the trees see
PARTS = 200  # histories forecast at a time, which bounds the memory
BLOCKS = (0.5, 0.75, 1)  # of the examples in time: each block is forecast by a model of what was before it
LONG = 2 / 3  # of the last history of a series: what a backtest's must at least have
FEWEST, FEW = 10, 50  # examples from which on there are backtests, and trees are fitted
SHARES = np.linspace(0, 1, 11)  # of the trees in a forecast, which is one half unless another is clearly better
CLEARLY = 0.05  # by how much of the error
VOLATILITY = (0.1, 10.0)  # smallest and largest measure of it, in units of the scale


class Described(NamedTuple):
    """What the model knows of each forecast, in units of the history's scale above its level."""

    simple: np.ndarray  # (rows, methods), the simple forecasts
    features: np.ndarray  # (rows, features), what the trees see
    level: np.ndarray  # (rows,), mean of the history's last season
    scale: np.ndarray  # (rows,), its mean absolute seasonal difference
    volatility: np.ndarray  # (rows,), how large an error is to be expected, up to a factor


class Origins(NamedTuple):
    """Forecasts that could have been made in the past."""

    at: np.ndarray  # (origins,), positions of the last known values in time
    series: np.ndarray  # (origins,)
    steps: np.ndarray  # (origins, steps ahead)
    long: np.ndarray  # (origins,), whether the history is nearly as long as the last one of its series


class Examples(NamedTuple):
    """Forecasts to learn from."""

    described: Described
    truth: np.ndarray  # (rows,), in units of the scale above the level
    steps: np.ndarray  # (rows,), ahead of the origin
    at: np.ndarray  # (rows,), positions in time of what is forecast
    long: np.ndarray  # (rows,), whether the history is nearly as long as the last one of its series


class Tested(NamedTuple):
    """What backtests found."""

    share: float  # of the trees, that is best
    errors: np.ndarray  # (rows,), absolute, in units of the scale times the volatility
    steps: np.ndarray  # (rows,)


def describe(
    histories: np.ndarray, which: np.ndarray, steps: np.ndarray, calendar: np.ndarray, frequency: Frequency
) -> Described:
    """Return what the model knows of each row.

    Args:
        histories: The values up to each origin, `(histories, window)`, NaN in gaps and before the first.
        which: The history of each row, in ascending order, `(rows,)`.
        steps: The steps ahead of each row, `(rows,)`, from 1.
        calendar: What is known of each row's time, `(rows, columns)`.
        frequency: Of the series.
    """
    parts = []
    for start in range(0, len(histories), PARTS):
        inside = slice(*np.searchsorted(which, [start, start + PARTS]))
        part = histories[start : start + PARTS]
        parts.append(_describe(part, which[inside] - start, steps[inside], calendar[inside], frequency))
    return Described(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def _describe(
    histories: np.ndarray, which: np.ndarray, steps: np.ndarray, calendar: np.ndarray, frequency: Frequency
) -> Described:
    season = frequency.season_length
    values = bridged(histories, season)
    found = simple_forecasts(values, steps.max(initial=1), season, frequency.long_season)
    recent = np.isfinite(values[:, -season:])
    total = np.where(recent, values[:, -season:], 0.0).sum(axis=1)
    level = total / np.maximum(recent.sum(axis=1), 1)  # (histories,)
    scale = scales(values, season)[which]  # (rows,)
    above = level[which]  # (rows,)
    simple = np.column_stack([each[which, steps - 1] for each in found.values()])  # (rows, methods)
    simple = (simple - above[:, None]) / scale[:, None]
    last = (values[which, -LAST:] - above[:, None]) / scale[:, None]
    changes = recent_changes(values, season, frequency.horizon)[which] / scale[:, None]
    features = np.column_stack([simple, last, steps, calendar])
    return Described(simple, features, above, scale, _volatility(simple, changes))


def _volatility(simple: np.ndarray, changes: np.ndarray) -> np.ndarray:
    """Return how uncertain each forecast is, `(rows,)`, in units of the scale.

    The geometric mean of the recent changes and of the disagreement of the simple forecasts, each within VOLATILITY;
    what is unknown counts as 1.

    Args:
        simple: The simple forecasts, `(rows, methods)`, in units of the scale.
        changes: The recent changes of the history, `(rows, measures)`, in units of the scale.
    """
    apart = np.abs(simple - np.median(simple, axis=1, keepdims=True)).mean(axis=1)
    measures = np.column_stack([changes, apart])
    known = np.where(np.isfinite(measures), measures, 1.0)
    return np.exp(np.log(known.clip(*VOLATILITY)).mean(axis=1))


def draw_origins(panel: Panel, frequency: Frequency, seed: int) -> Origins:
    """Return origins to learn from: all, or a draw of them in which recent ones are more likely."""
    random, times = np.random.default_rng(seed), len(panel.times)
    seen = np.cumsum(np.isfinite(panel.values), axis=0)  # (times, series)
    enough = np.maximum(MIN_HISTORY, np.minimum(frequency.window, seen[-1] // 2))
    at, series = np.nonzero((seen[:-1] >= enough) & (seen[:-1] < seen[-1]))
    steps = min(frequency.horizon, STEPS)
    if len(at) > EXAMPLES // steps:
        likely = 0.5 ** ((times - at) / (RECENT * times))
        chosen = np.sort(np.argsort(random.exponential(size=len(at)) / likely, kind="stable")[: EXAMPLES // steps])
        at, series = at[chosen], series[chosen]
    drawn = np.argsort(random.random((len(at), frequency.horizon)), axis=1, kind="stable")[:, :steps] + 1
    long = seen[at, series] >= LONG * np.minimum(frequency.window, seen[-1, series])
    return Origins(at, series, np.sort(drawn, axis=1), long)


def histories_of(panel: Panel, at: np.ndarray, series: np.ndarray, window: int) -> np.ndarray:
    """Return the last values of these series up to these positions, `(origins, window)`, NaN where there is none."""
    padded = np.pad(panel.values, ((window, 0), (0, 0)), constant_values=np.nan)
    return padded[at[:, None] + np.arange(1, window + 1), series[:, None]]


def backtest(examples: Examples, params: Any) -> Tested | None:
    """Return how models do on blocks of time after those that they learned from; None if there is too little of it."""
    bounds = np.quantile(examples.at, BLOCKS, method="lower")
    bounds[-1] += 1
    weighed, boosted = np.full((2, len(examples.truth)), np.nan)
    for start, stop in itertools.pairwise(bounds):
        tested = (examples.at >= start) & (examples.at < stop)
        learned = examples.at < start
        if learned.sum() >= FEWEST and tested.any():
            simple, features, truth = (each[learned] for each in (*examples.described[:2], examples.truth))
            weighed[tested] = (examples.described.simple[tested] * fit_weights(simple, truth)).sum(axis=1)
            trees = fit_trees(features, truth, params)
            found = trees.predict(examples.described.features[tested]) if trees is not None else weighed[tested]
            boosted[tested] = found
    done = np.isfinite(weighed) & (examples.long | ~examples.long.any())
    if not done.any():
        return None
    weighed, boosted, truth = weighed[done], boosted[done], examples.truth[done]
    share = best_share(weighed, boosted, truth)
    errors = np.abs(share * boosted + (1 - share) * weighed - truth) / examples.described.volatility[done]
    return Tested(share, errors, examples.steps[done])


def fit_weights(simple: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the weights of the simple forecasts with the least absolute error, none below 0, `(methods,)`; sum 1.

    By iteratively reweighted least squares.
    """
    count = simple.shape[1]
    weights = np.full(count, 1 / count)
    for _ in range(15):
        errors = np.abs(truth - (simple * weights).sum(axis=1))
        importance = 1 / np.maximum(errors, 0.05 * np.median(errors) + 1e-9)
        products = (simple * importance[:, None]).T @ simple
        ridge = 1e-3 * (np.trace(products) / count + 1e-9)
        wanted = (simple * importance[:, None]).T @ truth + ridge / count
        root = np.linalg.cholesky(products + 1.001 * ridge * np.eye(count))
        total = 1e3 * np.sqrt(np.trace(products) + ridge)  # so large that the weights sum to 1
        system = np.vstack([root.T, np.full(count, total)])
        weights, _ = nnls(system, np.append(np.linalg.solve(root, wanted), total))
        weights /= weights.sum()
    return weights


def fit_trees(features: np.ndarray, truth: np.ndarray, params: Any) -> HistGradientBoostingRegressor | None:
    """Return boosted trees with the least absolute error; None if there are too few examples."""
    if len(truth) < FEW:
        return None
    trees = HistGradientBoostingRegressor(
        loss="absolute_error",
        learning_rate=params.learning_rate,
        max_iter=params.rounds,
        max_leaf_nodes=params.leaves,
        max_features=0.5,
        early_stopping=False,
        random_state=params.seed,
    )
    return trees.fit(features, truth)


def best_share(weighed: np.ndarray, boosted: np.ndarray, truth: np.ndarray) -> float:
    """Return the share of the trees in a forecast: one half unless backtests say clearly otherwise."""
    losses = [np.abs(share * boosted + (1 - share) * weighed - truth).mean() for share in SHARES]
    return float(SHARES[np.argmin(losses * (1 + CLEARLY * np.square(2 * SHARES - 1)))])


def half_widths(errors: np.ndarray, steps: np.ndarray, horizon: int, level: float) -> np.ndarray:
    """Return half the width of the interval by step ahead, `(horizon,)`, by split conformal prediction.

    The errors are pooled over the steps, each divided by a typical error of the steps around it.

    Args:
        errors: Absolute errors of backtests in units of the scale times the volatility, `(rows,)`.
        steps: Their steps ahead, `(rows,)`.
        horizon: The number of steps ahead.
        level: The nominal coverage.
    """
    sums, counts = np.bincount(steps, errors, horizon + 1)[1:], np.bincount(steps, minlength=horizon + 1)[1:]
    near = np.abs(np.subtract.outer(np.arange(horizon), np.arange(horizon))) <= horizon // 8  # (horizon, horizon)
    typical = np.maximum((near * sums).sum(axis=1) / np.maximum((near * counts).sum(axis=1), 1), 1e-9)  # (horizon,)
    ratios = np.sort(errors / typical[steps - 1])
    rank = min(len(ratios), int(np.ceil((len(ratios) + 1) * level)))
    return typical * ratios[rank - 1]


def calendar_of(times: pd.DatetimeIndex, frequency: Frequency, yearly: bool) -> np.ndarray:
    """Return the place of each time in the day, week, month or year, as far as it repeats, `(times, columns)`."""
    known = {
        "Y": [],
        "Q": [times.month],
        "M": [times.month],
        "W": [],
        "B": [times.day_of_week, times.day],
        "D": [times.day_of_week, times.day],
    }
    columns = known.get(frequency.frequency[0], [times.hour * 60 + times.minute, times.day_of_week])
    if yearly and frequency.frequency[0] in "WBD":
        columns = [*columns, times.day_of_year]
    return np.array(columns, float).reshape(len(columns), len(times)).T
