"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours.

To use your own images: a folder for each label, named in data/catalog.yaml. Where the labels are in a table, make it a
second source and merge the two on `path`.
"""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog, images
from .datasets.table import Table

LABELS = [str(digit) for digit in range(10)]


def load_digits() -> pd.DataFrame:
    """One row per image: the path of its file, the file itself, and the digit that was written."""
    return catalog.read("digits")


def is_small(content: bytes) -> bool:
    """Whether an image has the size that all digits have; one that cannot be read is told by another check."""
    return not images.readable(content) or images.size(content) == (8, 8)


TABLES = [
    Table(
        name="digits",
        load=load_digits,
        key="path",
        target="label",
        schema=pa.DataFrameSchema(
            {
                "path": pa.Column(str),
                "content": pa.Column(
                    object,
                    [
                        pa.Check(images.readable, element_wise=True, error="no image that can be read"),
                        pa.Check(is_small, element_wise=True, error="not 8 x 8 pixels"),
                    ],
                ),
                "label": pa.Column(str, pa.Check.isin(LABELS)),
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]
