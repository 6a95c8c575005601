"""Tables of a team's own, one for each problem, written from a fixed seed: `problems.py PROBLEM FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

FACTS = "  owner: tests\n  licence: none\n  refresh: never\n"


def regression(folder: Path) -> str:
    """Every kind of column, with gaps, odd names, nothing in them, or more categories than can be counted."""
    random, count = np.random.default_rng(0), 900
    rows = pd.DataFrame({"row id": np.arange(count) + 1})
    rows["price, été ($)"] = holes(random, pd.Series(random.lognormal(3, 1, count)))
    rows["count{of}[items]"] = holes(random, pd.Series(random.integers(0, 9, count), dtype="Int64"))
    rows["Is new?"] = holes(random, pd.Series(random.random(count) < 0.5, dtype="boolean"))
    rows["sold"] = random.random(count) < 0.5
    rows["opened"] = holes(
        random, pd.Timestamp("2020-01-01") + pd.Series(pd.to_timedelta(random.integers(0, 900, count), "D"))
    )
    rows["closed"] = pd.Timestamp("2023-01-01", tz="UTC") + pd.to_timedelta(random.integers(0, 20_000, count), "h")
    rows["colour"] = pd.array(random.choice(["red", "green", None], count), dtype="string")
    rows["grade of 5"] = random.integers(1, 6, count)
    rows["shop"] = [f"shop {i}" for i in random.integers(0, 300, count)]
    rows["never"] = np.nan
    rows["no text"] = pd.array([None] * count, dtype="string")
    rows["always"], rows["one word"] = 7, "word"
    target = rows["price, été ($)"].fillna(20) / 20 + rows["count{of}[items]"].fillna(4).astype(float)
    target += (
        3.0 * (rows["colour"] == "red").fillna(False).astype(float) - rows["grade of 5"] + random.normal(0, 1, count)
    )
    rows["yield, t/ha"] = target.astype(float).round().astype("Int64")
    rows.to_parquet(folder / "odd.parquet")
    return f"odd:\n  file: data/odd.parquet\n{FACTS}"


def forecasting(folder: Path) -> str:
    """Daily visits of fourteen shops: gaps, late starts, one shop that is hardly known, one that nobody visits."""
    random = np.random.default_rng(0)
    days, parts = pd.date_range("2024-01-01", periods=200, freq="D", tz="UTC"), []
    for shop in range(14):
        own = days[{0: 0, 13: 190}.get(shop, int(random.integers(0, 60))) :]
        holiday = random.random(len(own)) < 0.05
        weather = random.choice(["rain", "sun", None], len(own))
        visits = 50 + 10 * shop + 15 * np.sin(2 * np.pi * own.day_of_week / 7) + random.normal(0, 3, len(own))
        visits = np.zeros(len(own)) if shop == 12 else visits - 25 * holiday + 4 * (weather == "sun")
        rows = pd.DataFrame({"shop no.": shop, "day": own, "visits": np.round(visits).astype(int), "holiday": holiday})
        rows["weather, forecast"] = weather
        parts.append(rows[(random.random(len(own)) > 0.08) | (np.arange(len(own)) == len(own) - 1)])
    pd.concat(parts).to_parquet(folder / "visits.parquet")
    return f"visits:\n  file: data/visits.parquet\n{FACTS}"


def image_classification(folder: Path) -> str:
    """Discs, squares and crosses in any colour, as PNG, JPEG and still GIF files of many sizes."""
    from PIL import Image, ImageDraw

    random, lines = np.random.default_rng(0), ["path,shape"]
    (folder / "photos" / "2024").mkdir(parents=True)
    for i in range(240):
        side, shape = int(random.integers(40, 120)), ("disc", "square", "cross")[i % 3]
        image = Image.new("RGB", (side, side + i % 7), tuple(random.integers(0, 100, 3).tolist()))
        draw, colour = ImageDraw.Draw(image), tuple(random.integers(130, 256, 3).tolist())
        left, low = random.integers(2, side // 4, 2).tolist()
        box = (left, low, left + side // 2, low + side // 2)
        if shape == "disc":
            draw.ellipse(box, fill=colour)
        elif shape == "square":
            draw.rectangle(box, fill=colour)
        else:
            draw.line(box, fill=colour, width=5)
            draw.line((box[0], box[3], box[2], box[1]), fill=colour, width=5)
        name = f"2024/{i:03}.{('png', 'jpg', 'gif')[i % 3 if i % 2 else 0]}"
        image.save(folder / "photos" / name)
        lines.append(f"{name},{shape}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return f"photos:\n  folder: data/photos\n{FACTS}labels:\n  file: data/labels.csv\n{FACTS}"


def holes(random: np.random.Generator, values: pd.Series) -> pd.Series:
    """The values, a tenth of them missing."""
    return values.mask(random.random(len(values)) < 0.1)


if __name__ == "__main__":
    problem, folder = sys.argv[1], Path(sys.argv[2])
    entry = globals()[problem.replace("-", "_")](folder)
    (folder / "catalog.yaml").write_text(entry, encoding="utf-8")
