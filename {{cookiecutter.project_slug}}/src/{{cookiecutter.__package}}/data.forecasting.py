"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours.

To use your own series: name the table in data/catalog.yaml, load it here, one row per series and time, and describe its
columns in the schema. Columns besides group, time and target must be known ahead, like a holiday or a price.
"""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table


def load_employment() -> pd.DataFrame:
    """One row per sector and month: how many people it employs in the USA, in thousands, seasonally adjusted."""
    return catalog.read("employment")


TABLES = [
    Table(
        name="employment",
        load=load_employment,
        key=("sector", "month"),
        target="employees",
        time="month",
        group="sector",
        schema=pa.DataFrameSchema(
            {
                "sector": pa.Column(str),
                "month": pa.Column("datetime64[ns]"),
                "employees": pa.Column(float, pa.Check.in_range(1, 100_000)),
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]
