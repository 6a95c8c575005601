"""Daily visits of shops, with a holiday and the weather known ahead. A team's own, as the tests pretend."""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table


def load_visits() -> pd.DataFrame:
    return catalog.read("visits")


TABLES = [
    Table(
        name="visits",
        load=load_visits,
        key=("shop no.", "day"),
        target="visits",
        time="day",
        group="shop no.",
        schema=pa.DataFrameSchema(
            {
                "shop no.": pa.Column(int),
                "day": pa.Column(pd.DatetimeTZDtype("ns", "UTC")),
                "visits": pa.Column("Int64"),
                "holiday": pa.Column(bool),
                "weather, forecast": pa.Column("string", nullable=True),
            },
            strict=True,
            coerce=True,
        ),
    ),
]
