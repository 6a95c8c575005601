"""Import a module of models/ and check it against the contract; data.py is not needed for that."""

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

import pandas as pd

from .. import Refused
from ..datasets import columns

PACKAGE = __package__.rpartition(".")[0]
CONTRACT = ("PRIMARY", "TRUSTED", "Params", "fit", "baselines", "predict", "losses", "metrics", "plots")
FORMER = {"plots": "pictures", "prediction_requests": "questions", "prediction_responses": "answers"}  # until 1.0


def load_module(name: str, package: str = PACKAGE) -> ModuleType:
    """Import a model's module.

    Args:
        name: Of the module.
        package: The package that `models` is in: this project's, or another state of it.

    Raises:
        Refused: If there is no such module, or it lacks a part of the contract.
    """
    try:
        found = import_module(f"{package}.models.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{package}.models.{name}":
            raise
        raise Refused(f"params.yaml names module {name!r}, but there is no src/*/models/{name}.py") from error
    if lacks := [part for part in CONTRACT if optional(found, part) is None]:
        raise Refused(f"models/{name}.py lacks {', '.join(lacks)}: see the contract in models/__init__.py")
    return found


def load_preparation(place: str, package: str = PACKAGE) -> Callable:
    """Return the function that prepares requests, by its place in the package: "module:function"."""
    module, _, name = place.partition(":")
    return getattr(import_module(f"{package}.{module}"), name)


def forecasts(module: ModuleType) -> bool:
    """Return whether the models of a module answer for times to come."""
    return optional(module, "expand_requests") is not None


def optional(module: ModuleType, part: str) -> Callable | None:
    """Return a part of the contract, also under its former name; None if the module has none."""
    former = FORMER.get(part, part)
    if not hasattr(module, part) and hasattr(module, former):
        warnings.warn(f"{module.__name__}.{former} is called {part} now", FutureWarning, stacklevel=2)
        part = former
    return getattr(module, part, None)


def responses(module: ModuleType, estimator: Any, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Return what the service answers to each row, in JSON's types."""
    own = optional(module, "prediction_responses")
    return own(estimator, rows) if own else columns.records(module.predict(estimator, rows))
