"""Compare the shipped classifier with simple methods on the same held-out rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from tables import BOOSTED, Set
from tables import section as of_tables

PROBLEM = "classification"
BINS, DRAWS = 10, 50  # groups of rows whose calibration is measured, and how often truths are drawn
METHODS = ("linear", "boosted", "LightGBM", "template")  # whose calibration is shown


def football(rows: pd.DataFrame) -> pd.DataFrame:
    """Add who won."""
    won = np.sign(rows["HomeGoals"] - rows["AwayGoals"]).map({-1: "away", 0: "nobody", 1: "home"})
    return rows.assign(won=won).dropna(subset=["Date"])


def flights(rows: pd.DataFrame) -> pd.DataFrame:
    """Add whether a flight came half an hour late."""
    return rows.dropna(subset=["arr_delay"]).assign(late=lambda all_rows: all_rows["arr_delay"] > 30)


SETS = (
    Set("modeldata/attrition", "Attrition", chosen_on=True),
    Set("modeldata/credit_data", "Status", chosen_on=True),
    Set("modeldata/mlc_churn", "churn", chosen_on=True),
    Set("openintro/email", "spam", "time", chosen_on=True),
    Set("ISLR/Weekly", "Direction", "rownames", ("Today",), chosen_on=True),
    Set("modeldata/wa_churn", "churn"),
    Set("ISLR/Caravan", "Purchase"),
    Set("carData/TitanicSurvival", "survived"),
    Set("modeldata/cells", "class", drop=("case",)),
    Set("DAAG/spam7", "yesno"),
    Set("carData/Chile", "vote"),
    Set("vcd/Bundesliga", "won", "Date", ("HomeGoals", "AwayGoals"), made=football),
    Set(
        "nycflights13/flights",
        "late",
        "time_hour",
        ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"),
        made=flights,
    ),
)


def calibration(lines: list[dict[str, Any]]) -> list[str]:
    """Return the table of calibration errors, and of what they would be by chance if all were well."""
    head = ["set", "rarest class", *METHODS, "template, by chance"]
    found = ["", "Calibration: the mean distance between the predicted probability of a class and how often it occurs,"]
    found[1] += f" in {BINS} groups of rows, over all classes; 'by chance' is that of truths drawn from the template's"
    found[1] += " own probabilities, which are calibrated by construction."
    found += ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for line in lines:
        chances = {name: np.concatenate([numbers(each[name]) for _, each in line["held out"]]) for name in METHODS}
        classes = (
            line["held out"][0][1]["template"].filter(regex="^probability_").columns.str.removeprefix("probability_")
        )
        truth = np.concatenate([test[line["set"].target].astype(str) for test, _ in line["held out"]])
        hits = truth[:, None] == classes.to_numpy()
        drawn = np.mean([error(chances["template"], draw(chances["template"], seed)) for seed in range(DRAWS)])
        errors = [f"{error(chances[name], hits):.3f}" for name in METHODS]
        found.append(f"| {line['set'].name} | {hits.mean(axis=0).min():.1%} | {' | '.join(errors)} | {drawn:.3f} |")
    return found


def numbers(guesses: pd.DataFrame) -> np.ndarray:
    """Return the probabilities, `(rows, classes)`."""
    return guesses.filter(regex="^probability_").to_numpy()


def error(chances: np.ndarray, hits: np.ndarray) -> float:
    """Return the mean distance of probability and frequency, in groups of equally many rows of similar probability."""
    found = []
    for chance, hit in zip(chances.T, hits.T, strict=True):
        groups = np.array_split(np.argsort(chance, kind="stable"), BINS)
        found += [abs(chance[each].mean() - hit[each].mean()) for each in groups]
    return float(np.mean(found))


def draw(chances: np.ndarray, seed: int) -> np.ndarray:
    """Return truths drawn from the probabilities, as booleans, `(rows, classes)`."""
    drawn = np.random.default_rng(seed).random((len(chances), 1)) > chances.cumsum(axis=1)
    return drawn.sum(axis=1).clip(max=chances.shape[1] - 1)[:, None] == np.arange(chances.shape[1])


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosted = HistGradientBoostingClassifier(max_leaf_nodes=15, early_stopping=False, random_state=0)
    peers = {"LightGBM": LGBMClassifier(verbose=-1, n_jobs=1), BOOSTED: boosted}
    return of_tables(
        package, "classifier", [each for each in SETS if not names or each.name in names], peers, calibration
    )
