"""Print what learning from the log is worth, and how often the gate is wrong about it, in Markdown.

A generated project's Python runs it, with its package importable:

    cd PROJECT && uv run python TEMPLATE/benchmarks/learning.py PACKAGE online_classifier|online_regressor [RUNS]

A model is fitted on 500 rows of 8 numbers. Then come 60 days of rows whose labels arrive the next day: the world stays,
turns around half of its weights on day 20, or turns slowly from day 20 on. Served is the fit that stands still, the
newest state without a gate, or what the gate lets serve.
"""

import sys
from copy import deepcopy
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd

COLUMNS, DAYS, FIT, CHANGE, NOISE = 8, 60, 500, 20, 1.0
WORLDS, SIZES = ("stays", "turns", "turns slowly"), (40, 200)  # rows a day
NAMES = [f"c{i}" for i in range(COLUMNS)]
TABLE = SimpleNamespace(name="own", features=NAMES, target="y", time=None, group=None)


def weights(world, day):
    """Return the true weights on a day, (columns,)."""
    share = {"stays": 0.0, "turns": float(day >= CHANGE)}.get(world, np.clip((day - CHANGE) / (DAYS - CHANGE), 0, 1))
    found = np.linspace(1, 0.3, COLUMNS)
    found[: COLUMNS // 2] *= 1 - 2 * share
    return found


def rows_of(generator, size, world, day, kind):
    """Return the rows of a day, and what turns out true."""
    values = generator.normal(0.1 * generator.normal(size=COLUMNS), 1, (size, COLUMNS))
    score = values @ weights(world, day) + generator.normal(0, NOISE, size)
    truth = score if kind == "online_regressor" else np.where(score > 0, "yes", "no")
    return pd.DataFrame(values, columns=NAMES).assign(y=truth)


class Stream:
    """One model through 60 days: the state at the end of each day, and its losses on the next before it learned it."""

    def __init__(self, package, kind, world, size, seed):
        self.module = import_module(f"{package}.models.{kind}")
        generator = np.random.default_rng(seed)
        start = rows_of(generator, FIT, world, 0, kind)
        state = self.module.fit(start, TABLE, self.module.Params())
        self.naive = self.module.baselines(start, TABLE, self.module.Params())["naive"]
        self.days = [rows_of(generator, size, world, day, kind) for day in range(DAYS)]
        self.states, self.losses = {-1: deepcopy(state)}, []
        for day, rows in enumerate(self.days):
            self.losses.append(self.loss(state, day))
            state = self.module.learn(state, rows, TABLE)
            self.states[day] = deepcopy(state)

    def loss(self, state, day):
        rows = self.days[day]
        return self.module.losses(rows, self.module.predict(state, rows), TABLE)


def gated(package, stream):
    """Return the mean loss of what the gate lets serve, and the days on which it let another version serve."""
    conditions, statistics, limits = (
        import_module(f"{package}.{name}")
        for name in ("retraining.conditions", "training.statistics", "retraining.limits")
    )
    allowed, serving, total, promoted = limits.Limits(), -1, [], []
    naive = [stream.loss(stream.naive, day) for day in range(DAYS)]
    own = {}  # of what serves, by day
    for day in range(DAYS):
        known = range(serving + 1, day)
        if len(known) >= statistics.FEW:
            units = np.repeat(np.arange(len(known)), [len(stream.losses[each]) for each in known])
            ours, theirs, simple = (
                np.concatenate([losses[each] for each in known]) for losses in (stream.losses, own, naive)
            )
            lately = units > units[-1] - statistics.FEW
            newest = units == units[-1]
            skill = max(float((simple - theirs).mean()), 0.0)
            [better] = conditions.compared(theirs - ours, units, {}, skill, allowed)
            good = statistics.interval((simple - ours)[lately], units[lately] - units[lately][0])[0] > 0
            last = statistics.interval((theirs - ours)[newest], np.arange(newest.sum()))[1] >= 0
            if better.holds and good and last:
                serving, own = day - 2, {}
                own[day - 1] = stream.loss(stream.states[serving], day - 1)
                promoted.append(day)
        own[day] = stream.loss(stream.states[serving], day)
        total.append(own[day].mean())
    return np.array(total), promoted


def main(package, kind, runs="8"):
    print(f"{kind}, {runs} runs: mean loss from day {CHANGE} on\n")
    print("| world | rows a day | stands still | no gate | gate | promotions | days until the first |")
    print("|---|---|---|---|---|---|---|")
    for world in WORLDS:
        for size in SIZES:
            found, counts, first = [], [], []
            for seed in range(int(runs)):
                stream = Stream(package, kind, world, size, seed)
                served, promoted = gated(package, stream)
                still = [stream.loss(stream.states[-1], day).mean() for day in range(CHANGE, DAYS)]
                newest = [losses.mean() for losses in stream.losses[CHANGE:]]
                found.append([np.mean(still), np.mean(newest), served[CHANGE:].mean()])
                counts.append(len(promoted))
                first += [day - CHANGE for day in promoted if day >= CHANGE][:1]
            means = " | ".join(f"{each:.3f}" for each in np.mean(found, axis=0))
            waited = f"{np.median(first):.0f}" if first and world != "stays" else ""
            print(f"| {world} | {size} | {means} | {np.mean(counts):.1f} | {waited} |", flush=True)


main(*sys.argv[1:])
