"""Describe a scored model: reports/<model>.html and the model card."""

import json
import re
from dataclasses import asdict
from typing import Any

import pandas as pd

from .. import Refused
from ..datasets.charts import number
from ..datasets.page import Section, literal_text, write_page
from . import artifact
from .contract import Model
from .evaluate import read_scores
from .importance import permutation_importance
from .modules import optional
from .refit import is_refitted
from .statistics import LEVEL

WORST = 10  # predictions shown with the largest losses
SHOWN = 30  # features and slices in a table
FEW = 5  # columns of predictions that are shown beside a row, if there are no more


def write_report(model: Model) -> None:
    """Write the report and the model card from the files of the last scoring, and of the gate if it has judged."""
    literal_text()
    scores, rows = read_scores(model), pd.read_parquet(model.files.holdout)
    predictions = pd.read_parquet(model.files.predictions)
    figures = optional(model.module, "plots")(rows, predictions, model.table)
    own = optional(model.module, "tables")
    tables = own(rows, predictions, model.table) if own else {}
    sections = [
        headline(model, scores),
        *verdict_sections(model),
        Section("Against simpler models", table=baseline_table(model, scores)),
        *(Section(title, figures={title: figure}) for title, figure in figures.items()),
        *(Section(title, table=table) for title, table in tables.items()),
        *importance_sections(model, rows),
        Section("Further metrics", table=_lines(scores["metrics"], "metric")),
        *slice_sections(model, scores),
        Section("Worst predictions", table=worst_predictions(model, rows, predictions)),
        Section("What was judged", text=scored_file(model, scores), table=_lines(asdict(model.params), "parameter")),
    ]
    write_page(model.files.report, f"Model {model.name}", sections)
    model.files.card.write_text(model_card(model, scores), encoding="utf-8")


def loss_units(model: Model, loss: float) -> dict[str, float]:
    """Return a mean loss in its named units; gains are in the first one."""
    own = optional(model.module, "loss_units")
    return own(loss, model.table) if own else {model.module.PRIMARY.replace("_", " "): loss}


def headline(model: Model, scores: dict[str, Any]) -> Section:
    """Return the first part: the loss, and whether it is lower than that of the best baseline."""
    name = scores["best_baseline"]
    best = scores["baselines"][name]
    good = False if best["gain"] < 0 else True if best["interval"][0] > 0 else None
    word = {True: "better", False: "worse", None: "not surely better"}[good]
    text = (
        f"On {tested_rows(scores)}; lower is better. "
        f"{LEVEL:.0%} interval {_range(scores['interval'])}. "
        f"The baseline {name} has {_in_words(model, best['value'])}: "
        f"the model's gain is {number(best['gain'])} in {_unit(model)} ({_range(best['interval'])})."
    )
    if "folds" in scores:
        text += f" What follows shows the {scores['rows']['holdout']:,} held-out rows."
    return Section(f"{_in_words(model, scores['value'])}:", f"{word} than {name}, the best baseline", good, text)


def tested_rows(scores: dict[str, Any]) -> str:
    """Return how many rows the scores are of: those held out, or more if these are too few."""
    if "folds" in scores:
        return f"{scores['rows']['tested']:,} rows, each by a model refitted without it"
    rows, copies = f"{scores['rows']['holdout']:,} held-out rows", scores["rows"].get("copies", 0)
    return rows + (f" ({copies:,} more are copies of training rows, and left out)" if copies else "")


def baseline_table(model: Model, scores: dict[str, Any]) -> pd.DataFrame:
    """Return the model and its baselines, a line each, the best first."""
    gain = f"gain of this model in {_unit(model)} ({LEVEL:.0%})"
    lines = [{"model": "this model", **loss_units(model, scores["value"]), gain: None}]
    for name, theirs in scores["baselines"].items():
        found = f"{number(theirs['gain'])} ({_range(theirs['interval'])})"
        lines.append({"model": name, **loss_units(model, theirs["value"]), gain: found})
    return pd.DataFrame(sorted(lines, key=lambda line: line[_unit(model)]))


def importance_sections(model: Model, rows: pd.DataFrame) -> list[Section]:
    """Return the report's part on the importance of the features, if the model has any."""
    title = "Importance of the features"
    try:
        found = permutation_importance(model, rows)
    except Refused as refusal:
        return [Section(title, text=f"Not measured, the model refuses shuffled values: {refusal}")]
    if found is None:
        return []
    features, repeats = found.rises.shape
    text = (
        f"How much the loss rises where a feature's values are shuffled among {found.rows:,} held-out rows, "
        f"{'once' if repeats == 1 else f'{repeats} times'} each ({features * repeats * found.rows:,} predictions). "
        "Features that tell the same share it."
    )
    if features > SHOWN:
        text += f" The first {SHOWN} of {features}."
    return [Section(title, text=text, table=found.table(_unit(model), SHOWN))]


def slice_sections(model: Model, scores: dict[str, Any]) -> list[Section]:
    """Return the report's part on the slices, if there are any: the worst first."""
    lines = sorted(scores["slices"], key=lambda line: -line["loss"])
    text = f"The worst {SHOWN} of {len(lines)}." if len(lines) > SHOWN else ""
    table = pd.DataFrame(lines[:SHOWN]).rename(columns={"loss": _unit(model)})
    return [Section("Slices", text=text, table=table)] if lines else []


def worst_predictions(model: Model, rows: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return key, truth, prediction and loss of the rows with the largest losses."""
    losses = pd.Series(model.module.losses(rows, predictions, model.table), name=_unit(model))
    shown = predictions if predictions.shape[1] <= FEW else predictions[["prediction"]]
    truth = rows[list(dict.fromkeys([*model.table.keys, model.table.target]))]
    return pd.concat([truth, shown, losses], axis=1).loc[losses.nlargest(WORST).index]


def verdict_sections(model: Model) -> list[Section]:
    """Return the report's part on the gate, if it has judged the model as it is: failures first, warnings apart."""
    if not model.files.verdict.exists():
        return []
    verdict = json.loads(model.files.verdict.read_text(encoding="utf-8"))
    if verdict.get("sha256") != artifact.signature(model.files.model).sha256:
        return []  # it is on an earlier model
    state = "promoted" if verdict["promote"] else "not promoted"
    conditions = sorted(verdict["conditions"], key=lambda each: each["holds"])
    warned = [each for each in conditions if each["holds"] and each.get("warning")]
    judged = _conditions([each for each in conditions if each not in warned])
    sections = [Section("Gate:", state, verdict["promote"], text=verdict["reason"], table=judged)]
    return [*sections, *([Section("Warnings of the gate", table=_conditions(warned))] if warned else [])]


def scored_file(model: Model, scores: dict[str, Any]) -> str:
    """Return which file the figures are of."""
    sha256 = artifact.signature(model.files.model).sha256[:12]
    text = f"The figures are of model file {sha256}, fitted on {scores['rows']['train']:,} training rows."
    if is_refitted(model):
        text += " Once it is promoted, a model fitted again on all rows serves, the held-out ones included."
    return text


def model_card(model: Model, scores: dict[str, Any]) -> str:
    """Return the model card in Markdown (Mitchell et al. 2019), every number from the run."""
    signature = artifact.signature(model.files.model)
    low, high = scores["interval"]
    slices = scores["slices"]
    lines = [
        f"# Model card: {model.name}",
        "",
        (model.module.__doc__ or model.name).strip().splitlines()[0],
        "",
        f"- learns: {code(model.table.target)} of table {code(model.table.name)}, from {len(signature.inputs)} columns",
        f"- parameters: {code(model.params)}",
        f"- trained on {scores['rows']['train']:,} rows, scored on {tested_rows(scores)}",
        f"- {scores['primary']}: {scores['value']:.4g} ({LEVEL:.0%} interval {low:.4g} to {high:.4g}), lower is better",
        *(f"- {code(name)}: {value:.4g}" for name, value in scores["metrics"].items()),
        *(
            f"- {code(name)}{', the best baseline' if name == scores['best_baseline'] else ''}: {theirs['value']:.4g}, "
            f"gain over it {theirs['gain']:.4g} ({_range(theirs['interval'])})"
            for name, theirs in scores["baselines"].items()
        ),
        *(
            f"- {code(each['column'])} = {code(each['value'])}: {each['loss']:.4g}, {each['rows']} rows"
            for each in slices
        ),
        f"- model file: sha256 `{signature.sha256}`",
        "",
    ]
    return "\n".join(lines)


def _unit(model: Model) -> str:
    return next(iter(loss_units(model, 0.0)))


def _in_words(model: Model, loss: float) -> str:
    """Return a mean loss in all its units, as `squared error 4 (RMSE: 2)`."""
    first, *others = loss_units(model, loss).items()
    beside = ", ".join(f"{name}: {number(value)}" for name, value in others)
    return f"{first[0]} {number(first[1])}" + (f" ({beside})" if beside else "")


def _range(interval: list[float]) -> str:
    low, high = interval
    return f"{number(low)} to {number(high)}" if low > float("-inf") else "unknown: too few rows"


def _conditions(conditions: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a line for each condition of the gate, with a tick if it holds."""
    marks = {True: "\N{CHECK MARK}", False: "\N{BALLOT X}"}
    words = [[marks[bool(each["holds"])], each["name"], each["found"], each["wanted"]] for each in conditions]
    return pd.DataFrame(words, columns=["", "condition", "found", "wanted"])


def _lines(values: dict[str, Any], kind: str) -> pd.DataFrame:
    """Return a line for each name and its value."""
    return pd.DataFrame({kind: list(values), "value": pd.Series(list(values.values()), dtype=object)})


def code(quoted: Any) -> str:
    """Return a text as code in Markdown, on one line, with a fence longer than any in it."""
    line = " ".join(str(quoted).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    inner = f" {line} " if "`" in line else line
    return f"{fence}{inner}{fence}"
