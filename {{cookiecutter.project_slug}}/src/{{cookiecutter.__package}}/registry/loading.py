"""Load a version as it predicts: its file, with the code it was made with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache, partial
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from .. import BadRows, Refused, first_line
from ..datasets import ranges
from ..datasets.table import prepared
from ..training import artifact
from ..training.artifact import Signature
from ..training.modules import forecasts, load_module, load_preparation, optional, responses
from ..training.workspace import ARTIFACTS
from .git import has_commit
from .model_code import code_hash, package_at
from .provenance import PATCH
from .settings import PROJECT
from .versions import REFIT, Version, get_version, run_artifacts, served_folder, version_folder

CODE = ARTIFACTS / ".code"  # of versions made with other code than today's: a folder for each commit and patch
TOLERANCE = 1e-9  # between an example's prediction as stored and as made here


@dataclass(frozen=True)
class LoadedVersion:
    """A version that can predict.

    Attributes:
        model: The model's name.
        number: The version's number.
        module: The module in models/, as it was when the version was made.
        signature: What it takes, with examples.
        estimator: The fitted model.
        trusted: The types its file may hold.
        megabytes: The size of its file.
        prepare: Makes rows of requests; None if a request is a row.
    """

    model: str
    number: str
    module: ModuleType
    signature: Signature
    estimator: Any
    trusted: tuple[str, ...]
    megabytes: float
    prepare: Callable[[pd.DataFrame], pd.DataFrame] | None = None

    def predict(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return a frame of predictions for rows of the right kinds; raise BadRows if they do not fit."""
        with self._bad_rows():
            return self.module.predict(self.estimator, rows)

    @property
    def forecasts(self) -> bool:
        """Whether it answers for times to come."""
        return forecasts(self.module)

    def future_requests(self, periods: int | None = None, **known: Any) -> pd.DataFrame:
        """Return a request for each series it knows and each of the next periods.

        Args:
            periods: How many; by default all that it can forecast.
            known: Values of the further columns that it needs.

        Raises:
            BadRows: It forecasts nothing, or not so many periods, or needs a column that is not given.
        """
        own = optional(self.module, "future_requests")
        if not own:
            raise BadRows(
                f"{self.model} version {self.number} forecasts no series: ask it with rows, by `just predict`"
            )
        requests = own(self.estimator, periods)
        needed = [column.name for column in self.signature.inputs if not column.optional]
        if unknown := [name for name in needed if name not in {*requests, *known}]:
            raise BadRows(
                f"{self.model} needs {unknown[0]!r} at the times to come: ask with rows that say it, by `just predict`"
            )
        requests = requests.assign(**{name: known[name] for name in needed if name not in requests})
        kinds = {column.name: column.kind for column in self.signature.inputs}
        numbers = [name for name in requests if kinds.get(name) == "number"]  # the names of series are texts
        return self.signature.typed(requests.assign(**{name: pd.to_numeric(requests[name]) for name in numbers}))

    def expand_requests(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return the rows, one without a time as a row for each time of the horizon; raise BadRows."""
        own = optional(self.module, "expand_requests")
        with self._bad_rows():
            return own(self.estimator, rows) if own else rows

    def prepared(self, requests: pd.DataFrame) -> pd.DataFrame:
        """Return the rows that a caller means with these requests of the right kinds."""
        with self._bad_rows():
            return self.prepare(requests) if self.prepare else requests

    def responses(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return an answer in JSON's types to each record; raise BadRows if one does not fit."""
        return self.answered(records)[0]

    def answered(self, records: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
        """Return an answer in JSON's types to each record, and warnings; raise BadRows if one does not fit."""
        known = {column.name for column in self.signature.inputs}
        requests = [{name: value for name, value in record.items() if name in known} for record in records]
        with self._bad_rows():
            rows = self.signature.typed(pd.DataFrame.from_records(requests, index=range(len(requests))))
            answers = responses(self.module, self.estimator, self.prepared(rows))
            return answers, ranges.sentences(rows, self.signature.inputs)

    def verify_examples(self) -> None:
        """Raise Refused unless the version predicts its own examples as it did when it was made."""
        found, stored = pd.DataFrame(self.responses(self.signature.examples)), pd.DataFrame(self.signature.predictions)
        try:
            pd.testing.assert_frame_equal(found, stored, check_dtype=False, rtol=TOLERANCE, atol=TOLERANCE)
        except AssertionError as error:
            raise Refused(
                f"version {self.number} of {self.model} does not predict its own examples here as it did when trained"
            ) from error

    @contextmanager
    def _bad_rows(self) -> Iterator[None]:
        """Raise the project's own BadRows also for that of another state of its code, and for values out of range."""
        try:
            yield
        except (OverflowError, UnicodeError) as error:
            raise BadRows(f"a number is too large, or a text cannot be encoded: {first_line(error)}") from error
        except Exception as error:
            if type(error).__name__ == BadRows.__name__ and not isinstance(error, BadRows):
                raise BadRows(str(error)) from error
            raise


def load_version(model: str, number: str) -> LoadedVersion:
    """Return a version as it was scored, ready to predict, from a file verified by its hash.

    Raises:
        Refused: If its file or its code is not here; the message says what to do.
    """
    return load_from(model, get_version(model, number), version_folder(model, number))


def load_served(model: str, number: str, tag: str = REFIT) -> LoadedVersion:
    """Return a version as it serves, fitted on all rows if it was, and verified to predict its own examples.

    Args:
        model: The model's name.
        number: The version's number.
        tag: FITTED for what it served with before any update.
    """
    version = load_from(model, get_version(model, number), served_folder(model, number, tag))
    version.verify_examples()
    return version


def load_from(model: str, version: Version, folder: Path) -> LoadedVersion:
    """Return a version ready to predict, from the files in a folder; raise Refused if they or its code are lost."""
    number = version.number
    try:
        package = package_of(version, model)
        module = load_module(version.module, package)
        trusted = tuple(_renamed(name, package) for name in module.TRUSTED)
        packages = None if package == PROJECT else (PROJECT, package)
        estimator, signature = artifact.load(folder, trusted, packages), artifact.signature(folder)
        prepare = _preparation(signature, folder, package)
    except Refused:
        raise
    except Exception as error:  # its code may raise anything, and need what is not installed any more
        raise Refused(f"version {number} of {model} cannot be loaded here: {first_line(error)}") from error
    size = (folder / artifact.FILE).stat().st_size / 1e6
    return LoadedVersion(model, number, module, signature, estimator, trusted, size, prepare)


def _preparation(signature: Signature, folder: Path, package: str) -> Callable | None:
    """Return the function that makes rows of requests, with its lookups; None if a request is a row."""
    if not signature.preparation:
        return None
    function = load_preparation(signature.preparation, package)
    return partial(prepared, function, lookups=artifact.read_lookups(folder))


def package_of(version: Version, model: str) -> str:
    """Return the package that the version predicts with: the project's own while its code is the same."""
    tags = version.tags
    if tags.get("code") == running_code(version.module, version.preparation) or tags["commit"] == "none":
        return PROJECT
    if not has_commit(tags["commit"]):
        raise Refused(
            f"version {version.number} of {model} was made with other code than is here, and its commit "
            f"{tags['commit'][:12]} is not in this repository: git fetch it, or retrain and promote a new version"
        )
    dirty = tags["dirty"] == "true"
    with run_artifacts(model, version.number, PATCH) if dirty else nullcontext() as patch:
        digest = _hash(patch) if patch else "committed"
        if tags.get("patch", digest) != digest:
            raise Refused(f"version {version.number} of {model}: its {PATCH} is not the one that was recorded")
        folder = CODE / f"{tags['commit'][:12]}_{digest[:12]}"
        return package_at(tags["commit"], patch, version.module, tags.get("code"), folder, version.preparation)


@cache
def running_code(module: str, preparation: str = "") -> str:
    """Return the hash of a module's code as this process found it first, whatever the files become while it runs."""
    return code_hash(module, preparation=preparation)


def _renamed(name: str, package: str) -> str:
    return package + name[len(PROJECT) :] if name.startswith(f"{PROJECT}.") else name


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
