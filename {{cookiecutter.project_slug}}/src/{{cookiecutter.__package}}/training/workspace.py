"""Where training keeps its files: every path that belongs to one model, and the lock on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from .. import ROOT, Refused, Unavailable

ARTIFACTS = ROOT / "artifacts"


@dataclass(frozen=True)
class Workspace:
    """The files of one model, by its name in params.yaml."""

    name: str

    @property
    def folder(self) -> Path:
        """The folder of all files but the report."""
        return ARTIFACTS / self.name

    @property
    def rows(self) -> Path:
        """The folder that the stage `split` writes."""
        return self.folder / "rows"

    @property
    def train(self) -> Path:
        """The rows to learn from."""
        return self.rows / "train.parquet"

    @property
    def holdout(self) -> Path:
        """The held-out rows, as the model would have been asked for them."""
        return self.rows / "holdout.parquet"

    @property
    def train_keys(self) -> Path:
        """The sorted hashes of the training rows' keys."""
        return self.rows / "train_keys.npy"

    @property
    def holdout_keys(self) -> Path:
        """The sorted hashes of the held-out rows' keys."""
        return self.rows / "holdout_keys.npy"

    @property
    def table_facts(self) -> Path:
        """Names of the table's columns, the hash of its rows, and the levels of its target."""
        return self.rows / "table.json"

    @property
    def model(self) -> Path:
        """The folder of the model file and its signature, which the stage `fit` writes."""
        return self.folder / "model"

    @property
    def refit(self) -> Path:
        """The folder of the model fitted again on all rows."""
        return self.folder / "refit"

    @property
    def predictions(self) -> Path:
        """The predictions for the held-out rows, which the stage `score` writes."""
        return self.folder / "predictions.parquet"

    @property
    def metrics(self) -> Path:
        """The scores, which the stage `score` writes."""
        return self.folder / "metrics.json"

    @property
    def verdict(self) -> Path:
        """The gate's verdict on the model."""
        return self.folder / "verdict.json"

    @property
    def set_aside(self) -> Path:
        """The list of rows that are not learned from; not below artifacts/, which can be made again."""
        return ROOT / "data" / "quarantine" / "models" / f"{self.name}.csv"

    @property
    def sifted(self) -> Path:
        """The sorted hashes of the keys of rows that a retrain found to be like those before."""
        return self.folder / "sifted.npy"

    @property
    def settled(self) -> Path:
        """What the last retrain was done with."""
        return self.folder / "settled.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.folder / "card.md"

    @property
    def report(self) -> Path:
        """The report."""
        return ROOT / "reports" / f"{self.name}.html"

    def downloaded(self, version: str) -> Path:
        """Return the folder for a version's model file that a server keeps."""
        return self.folder / "versions" / version


def read_rows(path: Path) -> pd.DataFrame:
    """Return rows that a stage has written; raise Refused if it has not run."""
    if not path.exists():
        raise Refused(f"{path.relative_to(ROOT).as_posix()} is missing: `uv run just train` writes it")
    return pd.read_parquet(path)


@contextmanager
def training_lock() -> Iterator[None]:
    """Hold the lock on this folder's artifacts; raise Refused if another command holds it."""
    try:
        with FileLock(ROOT / ".training.lock", timeout=0):
            yield
    except Timeout as error:
        raise Unavailable("another training is at work in this folder: wait for it to end") from error
