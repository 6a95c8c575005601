"""What is odd about rows that keep their schema: warnings, to be looked at."""

import pandas as pd

from .checks import Finding
from .table import Table


def suspects(table: Table, rows: pd.DataFrame) -> list[Finding]:
    """Return the warnings on good rows of a table, the most telling first."""
    return []
