"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours.

To use your own table: name it in data/catalog.yaml, load it here, and describe its columns in the schema.
"""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table

MEASURES = [
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave_points", "symmetry", "fractal_dimension"),
]
SIZE = pa.Column(float, pa.Check.in_range(0, 5000))


def load_tumours() -> pd.DataFrame:
    """One row per tumour: ten measures of its cell nuclei (mean, standard error, worst) and the diagnosis."""
    return catalog.read("tumours")


TABLES = [
    Table(
        name="tumours",
        load=load_tumours,
        key="tumour",
        target="diagnosis",
        schema=pa.DataFrameSchema(
            {
                "tumour": pa.Column(int),
                **{f"mean_{measure}": SIZE for measure in MEASURES},
                **{f"{measure}_error": SIZE for measure in MEASURES},
                **{f"worst_{measure}": SIZE for measure in MEASURES},
                "diagnosis": pa.Column(str, pa.Check.isin(["benign", "malignant"])),
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]
