"""Put several sources together in data.py, without a row that is lost, or there twice, unnoticed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from .. import Refused
from . import catalog
from .checks import EXAMPLES, shown

if TYPE_CHECKING:
    import pandera.pandas as pa


def joined(
    rows: pd.DataFrame, lookup: pd.DataFrame, on: str | list[str] | Mapping[str, str], *, required: bool = True
) -> pd.DataFrame:
    """Return the rows, in their order, each with the one line of a lookup that has its key: many to one.

    Args:
        rows: One for each row wanted.
        lookup: One line for each key.
        on: The columns of the key in both, or those of the rows with their names in the lookup.
        required: Whether a row without a line in the lookup is refused; if not, it gets missing values.

    Raises:
        Refused: If the join would multiply rows, lose what a row needs, or hide a column behind another.
    """
    pairs = dict(on) if isinstance(on, Mapping) else {name: name for name in ([on] if isinstance(on, str) else on)}
    what = f"the join on {' and '.join(pairs)}"
    for side, frame, names in (("left", rows, pairs), ("right", lookup, pairs.values())):
        if lost := [name for name in names if name not in frame]:
            raise Refused(f"{what}: there is no column {lost[0]!r} on the {side}, only {', '.join(map(str, frame))}")
    _refuse_other_types(what, rows, lookup, pairs)
    lookup = lookup.dropna(subset=[*pairs.values()])  # a missing value is equal to no other
    if doubles := _told(lookup[lookup.duplicated([*pairs.values()], keep=False)], [*pairs.values()]):
        raise Refused(f"{what} would multiply rows: several lines on the right are of {doubles}")
    if both := (set(rows) & set(lookup)) - set(pairs) - set(pairs.values()):
        raise Refused(f"{what}: both sides have a column {min(both)!r}: rename or drop one")
    right = lookup.rename(columns={name: key for key, name in pairs.items()})
    found = rows.merge(right, on=[*pairs], how="left", indicator="found in the lookup")
    found.index = rows.index
    alone = found.pop("found in the lookup") == "left_only"
    if required and alone.any():
        raise Refused(
            f"{what} would lose {alone.sum():,} rows: nothing on the right is of {_told(rows[alone], [*pairs])}"
        )
    return found


def found_in(source: str, column: str) -> "pa.Check":
    """Return a foreign key for the schema: a check that each value is one of this column of a source, or missing."""
    import pandera.pandas as pa

    return pa.Check(lambda values: values.isin(catalog.read(source)[column]), error=f"not in {column} of {source}")


def _refuse_other_types(what: str, rows: pd.DataFrame, lookup: pd.DataFrame, pairs: Mapping[str, str]) -> None:
    """Refuse keys of which one side has numbers and the other does not: no value would be equal."""
    for left, right in pairs.items():
        kinds = [pd.api.types.is_numeric_dtype(each) for each in (rows[left], lookup[right])]
        if kinds[0] != kinds[1]:
            types = f"{rows[left].dtype} on the left and {lookup[right].dtype} on the right"
            raise Refused(f"{what}: {left} is {types}: give both one type with .astype")


def _told(rows: pd.DataFrame, names: list[str]) -> str:
    """Return the first distinct keys of some rows as text, nothing if there is no row."""
    keys = rows[names].drop_duplicates().head(EXAMPLES)
    return "; ".join(" ".join(f"{k}={shown(v, k)}" for k, v in each.items()) for each in keys.to_dict("records"))
