"""Describe a scored model: reports/<model>.html and the model card."""

import json
import re
from typing import Any

import pandas as pd

from ..datasets.report import Section, write_page
from . import artifact
from .contract import Model
from .evaluate import read_scores, summary
from .modules import optional
from .statistics import LEVEL

WORST = 10  # predictions shown with the largest losses


def write_report(model: Model) -> None:
    """Write the report and the model card from the files of the last scoring, and of the gate if it has judged."""
    scores, rows = read_scores(model), pd.read_parquet(model.files.holdout)
    predictions = pd.read_parquet(model.files.predictions)
    figures = optional(model.module, "plots")(rows, predictions, model.table)
    sections = [
        Section(text=f"{summary(scores)} on {tested_rows(scores)}; lower is better."),
        *verdict_sections(model),
        Section("Against simpler models", table=baseline_table(scores)),
        *(Section(title, figures={title: figure}) for title, figure in figures.items()),
        Section("Further metrics", table=pd.DataFrame([scores["metrics"]])),
        *([Section("Slices", table=pd.DataFrame(scores["slices"]))] if scores["slices"] else []),
        Section("Worst predictions", table=worst_predictions(model, rows, predictions)),
        Section("Parameters", text=str(model.params)),
    ]
    write_page(model.files.report, f"Model {model.name}", sections)
    model.files.card.write_text(model_card(model, scores), encoding="utf-8")


def tested_rows(scores: dict[str, Any]) -> str:
    """Return how many rows the scores are of: those held out, or more if these are too few."""
    if "folds" in scores:
        return f"{scores['rows']['tested']:,} rows, each by a model refitted without it"
    rows, copies = f"{scores['rows']['holdout']:,} held-out rows", scores["rows"].get("copies", 0)
    return rows + (f" ({copies:,} more are copies of training rows, and left out)" if copies else "")


def baseline_table(scores: dict[str, Any]) -> pd.DataFrame:
    """Return the model and its baselines, a line each."""
    lines = [{"model": "this model", scores["primary"]: scores["value"]}]
    for name, theirs in scores["baselines"].items():
        low, high = theirs["interval"]
        gain = f"{theirs['gain']:.4g} ({low:.4g} to {high:.4g})"
        lines.append({"model": name, scores["primary"]: theirs["value"], f"gain of this model ({LEVEL:.0%})": gain})
    return pd.DataFrame(lines)


def worst_predictions(model: Model, rows: pd.DataFrame, predictions: pd.DataFrame) -> pd.DataFrame:
    """Return key, truth, prediction and loss of the rows with the largest losses."""
    losses = pd.Series(model.module.losses(rows, predictions, model.table), name="loss")
    lines = pd.concat([rows[[*model.table.keys, model.table.target]], predictions, losses], axis=1)
    return lines.loc[losses.nlargest(WORST).index]


def verdict_sections(model: Model) -> list[Section]:
    """Return the report's part on the gate, if it has judged the model as it is."""
    if not model.files.verdict.exists():
        return []
    verdict = json.loads(model.files.verdict.read_text(encoding="utf-8"))
    if verdict.get("sha256") != artifact.signature(model.files.model).sha256:
        return []  # it is on an earlier model
    state = "promoted" if verdict["promote"] else "not promoted"
    conditions = pd.DataFrame(verdict["conditions"]).drop(columns=["retryable", "passing", "warning"], errors="ignore")
    return [Section("Gate:", state, verdict["promote"], text=verdict["reason"], table=conditions)]


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
        f"- best baseline: {code(scores['best_baseline'])}",
        *(f"- gain over {code(name)}: {theirs['gain']:.4g}" for name, theirs in scores["baselines"].items()),
        *(
            f"- {code(each['column'])} = {code(each['value'])}: {each['loss']:.4g}, {each['rows']} rows"
            for each in slices
        ),
        f"- model file: sha256 `{signature.sha256}`",
        "",
    ]
    return "\n".join(lines)


def code(quoted: Any) -> str:
    """Return a text as code in Markdown, on one line, with a fence longer than any in it."""
    line = " ".join(str(quoted).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", line)), default=0) + 1)
    inner = f" {line} " if "`" in line else line
    return f"{fence}{inner}{fence}"
