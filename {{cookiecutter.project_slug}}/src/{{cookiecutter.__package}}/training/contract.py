"""params.yaml -> models: each block names a module of models/, its table, its target and its parameters."""

from dataclasses import dataclass, field, fields
from types import ModuleType
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict
from pydantic.dataclasses import dataclass as validating

from .. import Refused, validated
from ..data import TABLES
from ..datasets import columns
from ..datasets.columns import Input
from ..datasets.table import Table
from . import aside
from .modules import PACKAGE, load_module, optional
from .params import model_blocks, module_name
from .workspace import Workspace

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)


class Settings(BaseModel):
    """What a block of params.yaml may say besides its module's parameters."""

    module: str = ""
    table: str = ""
    target: str = ""
    slices: list[str] = []
    gate: dict[str, Any] = {}


@dataclass(frozen=True)
class Model:
    """A block of params.yaml.

    Attributes:
        name: Of the block and the registered model.
        module: The module in models/, which keeps the contract; several models may share it.
        table: The table it learns from, with the target that it predicts.
        params: An instance of the module's Params.
        slices: Columns by whose values scores are reported.
        gate: The limits that pipeline-centric's gate takes.
    """

    name: str
    module: ModuleType
    table: Table
    params: Any
    slices: list[str] = field(default_factory=list)
    gate: dict[str, Any] = field(default_factory=dict)

    @property
    def files(self) -> Workspace:
        """Where its files are."""
        return Workspace(self.name)

    def rows(self) -> pd.DataFrame:
        """Return all good rows of its table, in order, but those that are set aside."""
        return aside.left(self.table, self.table.rows(), self.files.set_aside)

    def prediction_requests(self, rows: pd.DataFrame, held: pd.Series) -> pd.DataFrame:
        """Return the held-out rows, as the model would have been asked for them."""
        own = optional(self.module, "prediction_requests")
        return own(rows, held, self.table, self.params) if own else rows[held]

    def inputs(self, rows: pd.DataFrame) -> list[Input]:
        """Return the columns that a request has."""
        own = optional(self.module, "inputs")
        if own and self.table.prepare:
            raise Refused(f"{self.name} asks for columns of its own, which table {self.table.name} cannot prepare")
        return (own or columns.inputs)(rows, self.table)

    @property
    def preparation(self) -> str:
        """The place in the package of the function that prepares requests, as in "preparation:flights"; or empty."""
        if not (function := self.table.prepare):
            return ""
        module = function.__module__.removeprefix(f"{PACKAGE}.")
        if module in (function.__module__, "data") or "<" in function.__qualname__ or "." in function.__qualname__:
            where = (
                "a function of a module beside data.py, such as preparation.py, since the service imports no data.py"
            )
            raise Refused(f"prepare of table {self.table.name} is {module}.{function.__qualname__}: make it {where}")
        return f"{module}:{function.__qualname__}"


@dataclass(frozen=True)
class Learning(Model):
    """A model as it goes on learning from logged rows: its files are beside those of the last retrain."""

    @classmethod
    def of(cls, model: Model) -> "Learning":
        """Return a model as one that goes on learning; raise Refused if its module cannot."""
        if optional(model.module, "learn") is None:
            raise Refused(f"{model.name} learns from no log: its module has no `learn`, see models/__init__.py")
        return cls(**{each.name: getattr(model, each.name) for each in fields(Model)})

    @property
    def files(self) -> Workspace:
        """Where its files are."""
        return Workspace(f"{self.name}/learned")


def load_models(names: list[str]) -> list[Model]:
    """Return the models of these names, or all of params.yaml if there is none."""
    return [_model(name, block) for name, block in model_blocks(names).items()]


def load_model(name: str) -> Model:
    """Return the model of this name."""
    return load_models([name])[0]


def table_of(name: str, block: dict) -> Table:
    """Return the table that the model of this block learns from: by default the first of data.py."""
    wanted = block.get("table") or TABLES[0].name
    for table in TABLES:
        if table.name == wanted:
            return table
    raise Refused(f"params.yaml: {name} learns from table {wanted!r}, but data.py has {[t.name for t in TABLES]}")


def _model(name: str, block: dict) -> Model:
    where, module = f"params.yaml: {name}", load_module(module_name(name, block))
    given = {key: value for key, value in block.items() if key in Settings.model_fields}
    settings = validated(Settings, {key: value for key, value in given.items() if value is not None}, where)
    unset = {each.name for each in fields(module.Params) if each.default is None}  # where null is no value either
    own = {key: value for key, value in block.items() if key not in given and not (value is None and key in unset)}
    params = validated(_strict(module.Params), own, where)
    table = table_of(name, block)
    target = settings.target or table.target
    if target not in (targets := [table.target, *table.targets]):
        known = f"table {table.name} names the targets {targets}: add it to targets= in data.py"
        raise Refused(f"{where} predicts {target!r}, but {known}")
    if lost := [column for column in settings.slices if column not in table.schema.columns]:
        raise Refused(f"{where} slices by {lost[0]!r}, which is no column of {table.name}")
    return Model(name, module, table.predicting(target), params, settings.slices, settings.gate)


def _strict(params: type) -> type:
    """Return a module's Params, a plain dataclass, with its types and bounds enforced."""
    return validating(params, config=STRICT, frozen=params.__dataclass_params__.frozen)
