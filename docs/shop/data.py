"""Snapshots -> rows: an order with its customer and its product, and whether it was sent back."""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.relations import found_in, joined
from .datasets.table import Table


def load_orders() -> pd.DataFrame:
    """One row per order: many orders have one customer, and one product."""
    orders = joined(catalog.read("orders"), catalog.read("customers"), on="customer")
    return joined(orders, catalog.read("products"), on="product")


TABLES = [
    Table(
        name="orders",
        load=load_orders,
        key="order",
        target="sent_back",
        time="ordered_on",
        group="customer",
        quarantine=0.001,  # one order in a thousand may be set aside, counted and listed
        schema=pa.DataFrameSchema(
            {
                "order": pa.Column(int),
                "customer": pa.Column(int, found_in("customers", "customer")),
                "product": pa.Column(str, found_in("products", "product")),
                "ordered_on": pa.Column("datetime64[ns]"),
                "pieces": pa.Column(int, pa.Check.ge(1)),
                "sent_back": pa.Column(bool),
                "city": pa.Column(str),
                "since": pa.Column("datetime64[ns]"),
                "kind": pa.Column(str, pa.Check.isin(["coats", "hats", "shirts", "shoes"])),
                "price": pa.Column(float, pa.Check.ge(0)),
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]
