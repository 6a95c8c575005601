"""Whether an almost perfect model stands on a column that may hold the answer."""

import numpy as np
import pandas as pd

from .. import BadRows
from ..registry.loading import LoadedVersion
from ..training import evaluate
from ..training.contract import Model
from .conditions import Condition, Contender
from .limits import Limits

PERMUTED, TOGETHER = 1000, 20  # rows among which a column's values are permuted, and columns at a time
CARRIED = 0.9  # share of the skill that depends on one column in a leak


def check_leakage(model: Model, challenger: Contender, rows: pd.DataFrame, allowed: Limits) -> Condition:
    """Require that an almost perfect model does not depend on a single column, which may hold the answer.

    Args:
        model: Whose losses are taken.
        challenger: The version in question.
        rows: The held-out rows.
        allowed: With `max_skill`, the share of the naive loss from which on this is checked.
    """
    naive = evaluate.read_scores(model)["baselines"]["naive"]["value"]
    skill = 1 - challenger.losses.mean() / naive if naive > 0 else 0.0
    found, share = f"{skill:.1%} of the naive loss removed", 0.0
    names = [column.name for column in challenger.version.signature.inputs]
    if skill > allowed.max_skill and len(names) > 1:
        picked = np.random.default_rng(0).permutation(len(rows))[:PERMUTED]
        some, loss = rows.iloc[picked].reset_index(drop=True), challenger.losses[picked].mean()
        permuted = {}
        for i in range(0, len(names), TOGETHER):
            permuted |= permutation_losses(model, challenger.version, some, names[i : i + TOGETHER])
        if permuted:
            carrier = max(permuted, key=permuted.get)
            share = float((permuted[carrier] - loss) / (naive - loss))
            found += f", {min(max(share, 0), 1):.0%} of it by {carrier!r}"
    wanted = f"at most {allowed.max_skill:.0%} by one column: if it holds no answer, raise max_skill"
    return Condition("not too good to be true", bool(share < CARRIED), found, wanted)


def permutation_losses(model: Model, version: LoadedVersion, rows: pd.DataFrame, names: list[str]) -> dict[str, float]:
    """Return the mean loss with a column's values taken from other rows, by column.

    The rows come in random order: each takes the value of the one before. Columns whose values a row cannot take from
    another are left out.
    """
    shifted = [rows.assign(**{name: rows[name].array[np.arange(len(rows)) - 1]}) for name in names]
    together = pd.concat(shifted, ignore_index=True)
    try:
        predictions = version.predict(together)
    except BadRows:
        if len(names) == 1:
            return {}
        return {key: loss for name in names for key, loss in permutation_losses(model, version, rows, [name]).items()}
    losses = np.reshape(model.module.losses(together, predictions, model.table), (len(names), -1))  # (columns, rows)
    return dict(zip(names, losses.mean(axis=1), strict=True))
