"""Snapshots -> rows: what a row is, what is predicted, and what makes a row good. This file is yours.

To use your own table: name it in data/catalog.yaml, load it here, and describe its columns in the schema.
"""

import pandas as pd
import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table


def load_patients() -> pd.DataFrame:
    """One row per diabetes patient: ten measurements, and how far the disease had gone a year later."""
    return catalog.read("patients")


TABLES = [
    Table(
        name="patients",
        load=load_patients,
        key="patient",
        target="progression",
        schema=pa.DataFrameSchema(
            {
                "patient": pa.Column(int),
                "age": pa.Column(int, pa.Check.in_range(0, 120)),  # years
                "sex": pa.Column(str, pa.Check.isin(["1", "2"])),  # the source does not say which is which
                "bmi": pa.Column(float, pa.Check.in_range(10, 80)),  # kg/m2
                "blood_pressure": pa.Column(float, pa.Check.in_range(30, 200)),  # mean arterial, mmHg
                "cholesterol": pa.Column(float, pa.Check.in_range(50, 500)),  # mg/dl
                "ldl": pa.Column(float, pa.Check.in_range(10, 400)),  # mg/dl
                "hdl": pa.Column(float, pa.Check.in_range(5, 200)),  # mg/dl
                "cholesterol_ratio": pa.Column(float, pa.Check.in_range(1, 20)),  # cholesterol / hdl
                "log_triglycerides": pa.Column(float, pa.Check.in_range(2, 9)),  # perhaps: the source is not sure
                "glucose": pa.Column(float, pa.Check.in_range(30, 500)),  # mg/dl
                "progression": pa.Column(float, pa.Check.ge(0)),
            },
            strict=True,  # a column that is not described here is an error
            coerce=True,
        ),
    ),
]
