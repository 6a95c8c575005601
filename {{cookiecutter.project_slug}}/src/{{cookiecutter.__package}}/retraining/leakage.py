"""Whether a column of the table, or two together, hold the answer: a leak that no score on held-out rows shows."""

from itertools import combinations

import numpy as np
import pandas as pd
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ..datasets import columns, skill
from ..datasets.columns import Input
from ..datasets.table import Table
from ..training.statistics import resampling_units
from .conditions import Condition
from .limits import Limits

ROWS, FOLDS = 1000, 3  # rows drawn, and folds of each cross-validation
COLUMNS, PAIRED = 100, 6  # columns of most importance to a forest that are tried alone, and in pairs
HALF = 0.5  # two columns hold the answer together only if neither tells more than this alone


def check_leakage(table: Table, inputs: list[Input], rows: pd.DataFrame, allowed: Limits) -> Condition:
    """Require that no column tells the target by itself, nor two together; warn where one nearly does.

    Asks the data, not the model, so that it does not matter what the model made of them: each column, and each pair of
    the most important, is given to a decision tree of its own. It costs one forest and at most 115 trees of 1000 rows.

    Args:
        table: Of the rows.
        inputs: What the model takes.
        rows: Training rows.
        allowed: With `max_skill`, what a column may tell: 0 is as much as nothing, 1 is all.
    """
    name, limit = "no column holds the answer", allowed.max_skill
    inputs = columns.inputs(rows, table, table.features) if table.prepare else inputs
    kinds = {column.name for column in inputs if column.kind in ("number", "text", "boolean", "date")}
    names = [name for name in table.features if name in kinds]
    wanted = f"at most {limit:.0%}: if it is known before the answer is, set max_skill: 1"
    if not names or limit == 1:
        return Condition(name, True, "not asked" if names else "no column to ask", wanted)
    told = skills(table, names, rows)
    alone = {each: share for each, share in told.items() if len(each) == 1}
    pairs = {pair: share for pair, share in told.items() if max(alone[column,] for column in pair) <= HALF}
    strongest = max(alone, key=alone.get)
    worst = max([strongest, *pairs], key=told.get) if alone[strongest] <= limit else strongest
    verb = "tells" if len(worst) == 1 else "tell"
    found = f"{' and '.join(map(repr, worst))} {verb} {max(told[worst], 0):.0%} of {table.target} alone"
    suspect = len(worst) == 1 and told[worst] > skill.SUSPECT
    return Condition(name, told[worst] <= limit, found, wanted, warning=suspect)


def skills(table: Table, names: list[str], rows: pd.DataFrame) -> dict[tuple[str, ...], float]:
    """Return how much of the target is told by each column, (name,), and by pairs of the most important, (name, name).

    For classes it is the balanced accuracy, for numbers R2 on their ranks; scaled so that 0 is chance and 1 is all.
    """
    few = skill.is_class(rows[table.target])
    rows = rows if few or table.time is None else skill.changes(table, names, rows)
    rows = rows.iloc[np.random.default_rng(0).permutation(len(rows))[:ROWS]].reset_index(drop=True)
    values = np.column_stack([skill.ranks(rows[name]) for name in names])  # (rows, columns)
    truth = rows[table.target].factorize()[0] if few else skill.ranks(rows[table.target])
    units = resampling_units(rows, table)
    forest = (ExtraTreesClassifier if few else ExtraTreesRegressor)(50, max_features=None, random_state=0)
    order = np.argsort(-forest.fit(values, truth).feature_importances_, kind="stable")[:COLUMNS]
    tried = [*((i,) for i in order), *combinations(order[:PAIRED], 2)]
    return {tuple(names[i] for i in each): _skill(values[:, each], truth, units, few) for each in tried}


def _skill(values: np.ndarray, truth: np.ndarray, units: np.ndarray, few: bool) -> float:
    """Return how well a fully grown tree of these columns predicts the rows of other units, at most 1."""
    if (folds := min(FOLDS, units.max() + 1)) < 2:
        return 0.0
    tree = DecisionTreeClassifier(class_weight="balanced") if few else DecisionTreeRegressor()
    tree.set_params(random_state=0)
    guess = cross_val_predict(tree, values, truth, groups=units, cv=GroupKFold(folds))
    return skill.scaled(guess, truth, few)
