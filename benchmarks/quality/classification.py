"""Compare the shipped classifier with simple methods on the same held-out rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tables import BOOSTED, Set
from tables import section as of_tables

PROBLEM = "classification"


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


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosted = HistGradientBoostingClassifier(max_leaf_nodes=15, early_stopping=False, random_state=0)
    peers = {"LightGBM": LGBMClassifier(verbose=-1, n_jobs=1), BOOSTED: boosted}
    return of_tables(package, "classifier", [each for each in SETS if not names or each.name in names], peers)
