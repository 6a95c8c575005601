"""The limits that a model's block `gate` in params.yaml may set."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from .. import validated
from ..training.contract import Model

Share = Annotated[float, Field(ge=0, le=1)]


class Bounds(BaseModel):
    """The range a further metric must keep to."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    min: float | None = None
    max: float | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> "Bounds":
        if self.min is None and self.max is None:
            raise ValueError("needs a min or a max")
        return self


class Limits(BaseModel):
    """Limits of the gate; gains and losses are shares of the champion's skill.

    Skill is how much lower the champion's loss is than the naive baseline's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    allowed_loss: Share = 0.05  # the challenger is surely not worse than the champion by more than this
    min_gain: Share | None = None  # if set: the challenger is surely better than the champion by more than this
    slice_loss: Share | None = 0.2  # no slice is surely worse, by more than this; null: slices are not judged
    max_loss: float | None = None  # of the primary metric itself
    max_skill: Share = 0.98  # how much of the target one column, or two, may tell by themselves; 1: not asked
    max_target_change: Annotated[float, Field(gt=1)] | None = 5.0  # times the target may grow or shrink; null: any
    steady_columns: bool = True  # new rows have the gaps, ranges and values that the champion learned from
    guards: dict[str, Bounds] = {}  # metric -> min, max
    max_slowdown: PositiveFloat | None = 3.0  # times the champion's latency, for a row and for 1,000; null: any
    max_milliseconds: PositiveFloat | None = 1000.0  # to predict one row; null: any
    max_batch_seconds: PositiveFloat | None = 5.0  # to predict 1,000 rows; null: any
    max_megabytes: PositiveFloat | None = 500.0  # of the model file; null: any
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95  # of the intervals; half of the rest on each side


def limits(model: Model) -> Limits:
    """Return the model's limits, defaults for those not given; raise Refused naming the first one that is wrong."""
    return validated(Limits, model.gate, f"params.yaml: gate of {model.name}")
