"""Print the false alarms a year of the drift test, and the days it takes to find a change, in Markdown.

A generated project's Python runs it, with its package importable:

    cd PROJECT && uv run python TEMPLATE/benchmarks/monitoring.py PACKAGE [YEARS]

30 columns (24 numbers, 6 texts of four values, gaps of 5 %), whose days differ as real ones do: each column's mean and
shares move by 0.1 sd from day to day, correlated by 0.5 from one day to the next, and weekends differ by 0.1 sd. The
first 90 days are the reference; alarms are counted with the cool-down of a watch.
"""

import sys
from datetime import date, timedelta
from importlib import import_module

import numpy as np
import pandas as pd

NUMBERS, TEXTS, GAPS = 24, 6, 0.05
SHARES = (0.4, 0.3, 0.2, 0.1)
LEARNED, BEFORE, COOL = 5_000, 90, 14  # rows of the profile, days before the champion, days of the cool-down
SIZES = (200, 1_000, 5_000)  # rows a day
CHANGES = ("mean +0.2 sd", "mean +0.5 sd", "category +10 points", "missing +10 points", "unit x10")
FIRST = date(2026, 1, 1)


class World:
    """Days that differ from each other: what moves, in sd, by day and column."""

    def __init__(self, generator, days, between, weekends):
        steps = generator.normal(0, between * np.sqrt(0.75), (days, NUMBERS + TEXTS))
        self.moves = np.zeros_like(steps)
        for day in range(1, days):
            self.moves[day] = 0.5 * self.moves[day - 1] + steps[day]
        weekend = np.array([(FIRST + timedelta(day)).weekday() >= 5 for day in range(days)])
        self.moves[weekend] += weekends
        self.generator = generator

    def rows(self, day, count, change=""):
        """Return the rows of a day; a change is of the first number, or of the first text."""
        found = {}
        for i in range(NUMBERS + TEXTS):
            own = change if i in (0, NUMBERS) else ""
            found[f"c{i}"] = self.column(i, self.moves[day, i], count, own)
        return pd.DataFrame(found)

    def column(self, i, move, count, change):
        generator, gaps = self.generator, GAPS
        if i < NUMBERS:
            shift = {"mean +0.2 sd": 0.2, "mean +0.5 sd": 0.5}.get(change, 0.0)
            values = generator.normal(10 + move + shift, 1, count) * (10 if change == "unit x10" else 1)
            gaps += 0.1 if change == "missing +10 points" else 0
            return np.where(generator.random(count) < gaps, np.nan, values)
        weights = np.array(SHARES) * np.exp(move * np.array([1, 0, -1, 0]))
        weights /= weights.sum()
        if change == "category +10 points":
            weights = weights * (1 - 0.1 / (1 - weights[1]))
            weights[1] = 1 - weights[[0, 2, 3]].sum()
        return generator.choice(list("abcd"), count, p=weights)


def alarms(package, world, rows_a_day, days, change="", begins=10**9):
    """Yield for each day after BEFORE whether anything alarms: drift or quality."""
    profiles, drift, quality = (
        import_module(f"{package}.{name}") for name in ("retraining.profiles", "monitoring.drift", "retraining.quality")
    )
    learned = world.rows(0, LEARNED)
    profile = profiles.profile_of(learned, list(learned))
    known = {name: {} for name in profile.columns}
    for day in range(BEFORE + days):
        today = FIRST + timedelta(day)
        rows = world.rows(day, rows_a_day, change if day >= begins else "")
        counts = profile.count(rows)
        for name, each in profile.columns.items():
            known[name][today] = drift.properties(each, counts[name])
        if day < BEFORE:
            continue
        reference = drift.reference_days(list(known["c0"]), FIRST + timedelta(BEFORE))
        fired = False
        for name, each in profile.columns.items():
            fired |= bool(quality.problems(each, counts[name]))
            fired |= any(found.alarm for found in drift.changes(name, known[name], counts[name], reference, len(known)))
        yield fired


def false_alarms(package, rows_a_day, years, between, weekends):
    """Return the mean number of alarms a year in which nothing happens, alarms in the cool-down not counted."""
    total = 0
    for year in range(years):
        world = World(np.random.default_rng([year, rows_a_day]), BEFORE + 365, between, weekends)
        quiet = 0
        for fired in alarms(package, world, rows_a_day, 365):
            quiet = max(quiet - 1, 0)
            if fired and not quiet:
                total, quiet = total + 1, COOL
    return total / years


def days_to_find(package, rows_a_day, change, runs):
    """Return the share of runs in which a change is found within 3 and 14 days, and the median of the days it takes."""
    took = []
    for run in range(runs):
        world = World(np.random.default_rng([run, rows_a_day, 7]), BEFORE + 15, 0.1, 0.1)
        fired = list(alarms(package, world, rows_a_day, 15, change, BEFORE + 1))[1:]
        took.append(fired.index(True) + 1 if True in fired else 99)
    found = np.array(took)
    return {
        "3 days": float((found <= 3).mean()),
        "14 days": float((found <= 14).mean()),
        "median": float(np.median(found)),
    }


def main(package, years=4):
    """Print both tables."""
    lines = {}
    for size in SIZES:
        lines[size] = [false_alarms(package, size, years, 0.0, 0.0), false_alarms(package, size, years, 0.1, 0.1)]
    print(f"| rows a day | false alarms a year, equal days | days that differ | ({years} years each)")
    print("|---|---|---|")
    for size, (equal, real) in lines.items():
        print(f"| {size:,} | {equal:.2f} | {real:.2f} |", flush=True)
    print("\n| rows a day | change | found within 3 days | within 14 | median days |\n|---|---|---|---|---|")
    for size in SIZES:
        for change in CHANGES:
            found = days_to_find(package, size, change, 5 * years)
            print(
                f"| {size:,} | {change} | {found['3 days']:.0%} | {found['14 days']:.0%} | {found['median']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
