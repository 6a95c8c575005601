"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours.

To use your own series: name the table in data/catalog.yaml, load it here, one row per series and time, and describe its
columns in the schema. Columns besides group, time and target must be known ahead, like a holiday or a price.
"""

import pandas as pd
import pandera.pandas as pa
from matplotlib.figure import Figure

from .datasets import catalog
from .datasets.table import Table


def load_employment() -> pd.DataFrame:
    """One row per sector and month: how many people it employs in the USA, in thousands, seasonally adjusted."""
    return catalog.read("employment")


def lines(rows: pd.DataFrame) -> dict[str, Figure]:
    """Every series over time, each on its own scale."""
    figure = Figure(figsize=(12, 6), layout="constrained")
    axis = figure.subplots()
    for name, own in rows.groupby("sector"):
        axis.plot(own["month"], own["employees"] / own["employees"].mean(), linewidth=1, label=name)
    axis.set_ylabel("employees, share of the mean")
    figure.legend(loc="outside right upper", fontsize=8)
    return {"The series": figure}


TABLES = [
    Table(
        name="employment",
        load=load_employment,
        key=("sector", "month"),
        target="employees",
        time="month",
        group="sector",
        plots=lines,
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
