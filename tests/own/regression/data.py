"""A table with every kind of column, gaps and odd names. A team's own, as the tests pretend."""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table

TARGET = "yield, t/ha"


def load_odd() -> pd.DataFrame:
    rows = catalog.read("odd")
    rows["grade of 5"] = rows["grade of 5"].astype("category")
    return rows


TABLES = [
    Table(
        name="odd",
        load=load_odd,
        key="row id",
        target=TARGET,
        schema=pa.DataFrameSchema(
            {
                "row id": pa.Column(int),
                "price, été ($)": pa.Column(float, nullable=True),
                "count{of}[items]": pa.Column("Int64", nullable=True),
                "Is new?": pa.Column("boolean", nullable=True),
                "sold": pa.Column(bool),
                "opened": pa.Column("datetime64[ns]", nullable=True),
                "closed": pa.Column(pd.DatetimeTZDtype("us", "UTC"), nullable=True),
                "colour": pa.Column("string", nullable=True),
                "grade of 5": pa.Column("category"),
                "shop": pa.Column(str, nullable=True),
                "never": pa.Column(float, nullable=True),
                "no text": pa.Column(str, nullable=True),
                "always": pa.Column(int),
                "one word": pa.Column(str),
                TARGET: pa.Column("Float64"),
            },
            strict=True,
            coerce=True,
        ),
    ),
]
