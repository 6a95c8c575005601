"""Bottles of wine: which grape they were made of. A team's own table, as the tests pretend."""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table

MEASURES = {
    *("malic_acid", "ash", "alcalinity_of_ash", "total_phenols", "flavanoids", "nonflavanoid_phenols"),
    *("proanthocyanins", "color_intensity", "hue", "OD280/OD315 of diluted wines", "proline"),
}


def load_bottles() -> pd.DataFrame:
    """One row per bottle."""
    return catalog.read("cellar-book").rename(columns={"bottled": "bottled_on"})


TABLES = [
    Table(
        name="bottles",
        load=load_bottles,
        key="bottle",
        target="grape",
        schema=pa.DataFrameSchema(
            {
                "bottle": pa.Column(str, pa.Check.str_matches(r"B\d{3}")),
                "alcohol": pa.Column(float, pa.Check.in_range(8, 20), nullable=True),
                "magnesium": pa.Column(float, nullable=True),
                **{name: pa.Column(float, pa.Check.ge(0)) for name in sorted(MEASURES)},
                "cellar": pa.Column(str, nullable=True),
                "taster": pa.Column(str),
                "organic": pa.Column(bool),
                "bottled_on": pa.Column("datetime64[us]", nullable=True),
                "grape": pa.Column(str, pa.Check.isin(["barolo", "grignolino", "barbera"])),
            },
            strict=True,
            coerce=True,
        ),
    ),
]
