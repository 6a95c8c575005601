"""Scores of a fitted model on rows it never saw: metrics, baselines, slices; the report and the model card."""

import json
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, stdtrit

from . import ROOT, Refused, artifact, catalog, quality, run
from .models import Model, alone, chosen
from .table import Table

RESAMPLES = 2000  # of the held-out units, for every interval
POOLS = 1000  # of units, if there are more
BLOCKS = 30  # of time, all groups together, if there are fewer groups
LEVEL = 0.95  # of every interval
FEW = 12  # distinct values up to which a column is sliced without being asked


def main(arguments: list[str]) -> None:
    """The models as last trained are scored again and their reports written."""
    for model in chosen(arguments):
        with alone():
            score(model)
            report(model)
        print(f"{model.name}: {summary(metrics(model))}; report: reports/{model.name}.html")


def score(model: Model) -> None:
    """metrics.json and predictions.parquet stand in the model's folder: the held-out rows, predicted and judged."""
    train = pd.read_parquet(model.folder / "rows" / "train.parquet")
    rows = pd.read_parquet(model.folder / "rows" / "holdout.parquet")
    if rows.empty:
        raise Refused(f"no row of {model.table.name} is held out: it needs more rows, or more times or groups")
    estimator = artifact.load(model.folder / "model", model.module.TRUSTED)
    predictions = model.module.predict(estimator, rows)
    if wrong := int((~finite(predictions)).sum()):
        raise Refused(f"{model.name} predicts missing or infinite values for {wrong} of {len(rows)} held-out rows")
    losses = model.module.losses(rows, predictions, model.table)
    simpler = {
        name: model.module.losses(rows, model.module.predict(baseline, rows), model.table)
        for name, baseline in model.module.baselines(train, model.table, model.params).items()
    }
    described = {
        "primary": model.module.PRIMARY,
        "value": float(losses.mean()),
        "interval": interval(losses, units(rows, model.table)),
        "metrics": model.module.metrics(rows, predictions, model.table),
        "baselines": {name: beaten(losses, theirs, units(rows, model.table)) for name, theirs in simpler.items()},
        "slices": [line for column in sliced(model, rows) for line in slice_lines(column, rows[column], losses)],
        "rows": {"train": len(train), "holdout": len(rows)},
        "prediction_hash": catalog.content_hash(predictions.reset_index(drop=True)),
    }
    predictions.to_parquet(model.folder / "predictions.parquet")
    (model.folder / "metrics.json").write_text(json.dumps(described, indent=1), encoding="utf-8")


def finite(predictions: pd.DataFrame) -> np.ndarray:
    """For each row whether all that is predicted is there and, if it is a number, is a finite one."""
    numbers = predictions.select_dtypes("number").to_numpy(float)
    return np.isfinite(numbers).all(axis=1) & predictions.notna().all(axis=1).to_numpy()


def metrics(model: Model) -> dict[str, Any]:
    """What the last scoring found."""
    return json.loads((model.folder / "metrics.json").read_text(encoding="utf-8"))


def units(rows: pd.DataFrame, table: Table) -> np.ndarray:
    """For each row the number of the unit that is resampled as a whole: its group, or the row itself.

    Rows that follow each other in time are alike: where there are few groups, or none, a unit is a block of time.
    """
    groups = rows[table.group].factorize()[0] if table.group else np.zeros(len(rows), int)
    known = groups.max(initial=0) + 1
    if table.time is None:
        return groups if table.group else np.arange(len(rows))
    if known >= BLOCKS:
        return groups
    steps = rows[table.time].rank(method="dense").to_numpy(int) - 1
    wanted = min(steps.max(initial=0) + 1, -(-BLOCKS // known))
    return pd.factorize(groups * wanted + steps * wanted // (steps.max(initial=0) + 1))[0]


def interval(losses: np.ndarray, units: np.ndarray, level: float = LEVEL, seed: int = 0) -> list[float]:
    """Bounds of the mean loss: on each side the wider of a t interval and a bootstrap over units, widened as t is.

    A bootstrap alone is too narrow where there are few units, or where few of them make the difference.
    """
    sums, counts = np.bincount(units, losses), np.bincount(units).astype(float)
    generator = np.random.default_rng(seed)
    if len(sums) > POOLS:  # many units say as much in random pools, and a thousand times faster
        pool = generator.permutation(len(sums)) % POOLS
        sums, counts = np.bincount(pool, sums), np.bincount(pool, counts)
    size, mean = len(sums), sums.sum() / counts.sum()
    if size < 2:
        return [-np.inf, np.inf]
    wider, quantile = np.sqrt(size / (size - 1)), -stdtrit(size - 1, (1 - level) / 2)
    spread = wider * quantile * np.sqrt(((sums - mean * counts) ** 2).sum()) / counts.sum()
    drawn = generator.integers(size, size=(RESAMPLES, size))
    tail = ndtr(-wider * quantile)
    low, high = np.quantile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [tail, 1 - tail])
    return [float(min(low, mean - spread)), float(max(high, mean + spread))]


def beaten(ours: np.ndarray, theirs: np.ndarray, units: np.ndarray) -> dict[str, Any]:
    """A baseline's loss, and how much lower ours is on the same rows, with its interval."""
    gain = theirs - ours
    return {"value": float(theirs.mean()), "gain": float(gain.mean()), "interval": interval(gain, units)}


def sliced(model: Model, rows: pd.DataFrame) -> list[str]:
    """The columns to slice by: those declared in params.yaml, and features of few values that are no measure."""
    kinds = rows[model.table.features].select_dtypes(exclude=["float", "datetime", "datetimetz"])
    return list(dict.fromkeys([*model.slices, *(name for name in kinds if 2 <= kinds[name].nunique() <= FEW)]))


def slice_lines(column: str, values: pd.Series, losses: np.ndarray) -> list[dict[str, Any]]:
    """One line for each value of the column: how many rows, and their mean loss."""
    groups = pd.Series(losses).groupby(values.astype("string").fillna("(missing)").to_numpy())
    return [{"column": column, "value": name, "rows": len(each), "loss": float(each.mean())} for name, each in groups]


def summary(found: dict[str, Any]) -> str:
    """The scores in a line: the primary metric, its interval, and the naive baseline."""
    low, high = found["interval"]
    naive = found["baselines"]["naive"]["value"]
    return f"{found['primary']} {found['value']:.4g} ({low:.4g} to {high:.4g}; naive {naive:.4g})"


def report(model: Model) -> None:
    """reports/<model>.html and the model card stand, written from what the last run left in the model's folder."""
    found = metrics(model)
    rows = pd.read_parquet(model.folder / "rows" / "holdout.parquet")
    predictions = pd.read_parquet(model.folder / "predictions.parquet")
    losses = pd.Series(model.module.losses(rows, predictions, model.table), name="loss")
    worst = pd.concat([rows[[*model.table.keys, model.table.target]], predictions, losses], axis=1)
    worst = worst.loc[losses.nlargest(10).index]
    figures = model.module.pictures(rows, predictions, model.table)
    sections = [
        f"<p>{escape(summary(found))} on {found['rows']['holdout']:,} held-out rows; lower is better.</p>",
        verdict(model),
        f"<h2>Against simpler models</h2>{quality.html(against(found))}",
        *(f"<h2>{escape(title)}</h2>{quality.picture(figure, title)}" for title, figure in figures.items()),
        f"<h2>Further metrics</h2>{quality.html(pd.DataFrame([found['metrics']]))}",
        f"<h2>Slices</h2>{quality.html(pd.DataFrame(found['slices']))}" if found["slices"] else "",
        f"<h2>Worst predictions</h2>{quality.html(worst)}",
        f"<h2>Parameters</h2><p>{escape(str(model.params))}</p>",
    ]
    quality.write(ROOT / "reports" / f"{model.name}.html", f"Model {model.name}", sections)
    (model.folder / "card.md").write_text(card(model, found), encoding="utf-8")


def against(found: dict[str, Any]) -> pd.DataFrame:
    """The model and its baselines, a line each."""
    lines = [{"model": "this model", found["primary"]: found["value"]}]
    for name, theirs in found["baselines"].items():
        low, high = theirs["interval"]
        gain = f"{theirs['gain']:.4g} ({low:.4g} to {high:.4g})"
        lines.append({"model": name, found["primary"]: theirs["value"], f"gain of this model ({LEVEL:.0%})": gain})
    return pd.DataFrame(lines)


def verdict(model: Model) -> str:
    """The report's part on the gate, if it has spoken."""
    path = model.folder / "verdict.json"
    if not path.exists():
        return ""
    spoken = json.loads(path.read_text(encoding="utf-8"))
    if spoken.get("sha256") != artifact.signature(model.folder / "model").sha256:
        return ""  # it is on an earlier model
    mood, word = ("good", "promoted") if spoken["promote"] else ("bad", "not promoted")
    conditions = quality.html(pd.DataFrame(spoken["conditions"]).drop(columns="passing", errors="ignore"))
    return f"<h2>Gate: <span class='{mood}'>{word}</span></h2><p>{escape(spoken['reason'])}</p>{conditions}"


def card(model: Model, found: dict[str, Any]) -> str:
    """The model card in Markdown (Mitchell et al. 2019), every number from the run."""
    described = artifact.signature(model.folder / "model")
    low, high = found["interval"]
    lines = [
        f"# Model card: {model.name}",
        "",
        (model.module.__doc__ or model.name).strip().splitlines()[0],
        "",
        f"- learns: `{model.table.target}` of table `{model.table.name}`, from {len(described.inputs)} columns",
        f"- parameters: `{model.params}`",
        f"- trained on {found['rows']['train']:,} rows, judged on {found['rows']['holdout']:,} it never saw",
        f"- {found['primary']}: {found['value']:.4g} ({LEVEL:.0%} interval {low:.4g} to {high:.4g}), lower is better",
        *(f"- {name}: {value:.4g}" for name, value in found["metrics"].items()),
        *(f"- gain over {name}: {theirs['gain']:.4g}" for name, theirs in found["baselines"].items()),
        *(f"- {line['column']} = {line['value']}: {line['loss']:.4g}, {line['rows']} rows" for line in found["slices"]),
        f"- model file: sha256 `{described.sha256}`",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    run(main)
