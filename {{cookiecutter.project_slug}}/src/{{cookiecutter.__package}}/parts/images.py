"""Files -> pixels, and what is wrong with a file that has none: the only module that knows Pillow."""

import io
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from .. import BadRows

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # what Pillow may try to read
BYTES = 20_000_000  # a file has at most
SIDE = 8_000  # pixels a side at most
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises for bad files


def readable(content: bytes) -> bool:
    """Whether the bytes are an image, whole and not too large: the check for a schema."""
    return not trouble(content)


def trouble(content: bytes) -> str:
    """What keeps the bytes from being used as an image; empty if nothing does."""
    try:
        pixels(content, 1)
    except BadRows as bad:
        return str(bad)
    return ""


def size(content: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the file's head; raises BadRows."""
    if len(content) > BYTES:
        raise BadRows(f"the file has {len(content):,} bytes, at most {BYTES:,} are read")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise BadRows(f"the image has {image.n_frames} frames: send one of them")
            if max(image.size) > SIDE:
                raise BadRows(f"the image has {image.width} x {image.height} pixels: make it at most {SIDE} a side")
            if image.mode.startswith(("I", "F")):
                raise BadRows("the image has more than 8 bits a colour: scale it to 8, so that none is lost unseen")
            return image.size
    except BROKEN as error:
        raise BadRows(f"the file is no image that can be read, of {', '.join(FORMATS)}") from error


def pixels(content: bytes, side: int) -> np.ndarray:
    """The image upright, in colour on white, squeezed to a square (side x side x 3, uint8); raises BadRows."""
    size(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.draft("RGB", (2 * side, 2 * side))  # a large JPEG need not be decoded in full
            seen = ImageOps.exif_transpose(image).convert("RGBA")
    except BROKEN as error:
        raise BadRows("the image is cut off or damaged") from error
    white = Image.new("RGBA", seen.size, "white")
    return np.asarray(Image.alpha_composite(white, seen).convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def sheet(contents: Iterable[bytes], words: Iterable[str], across: int = 10) -> Figure:
    """The images side by side, each under its words."""
    pairs = list(zip(contents, words, strict=True))
    down = max(1, -(-len(pairs) // across))
    figure = Figure(figsize=(12, 1.35 * down), layout="constrained")
    for axis in (axes := figure.subplots(down, across, squeeze=False)).flat:
        axis.set_axis_off()
    for axis, (content, title) in zip(axes.flat, pairs, strict=False):
        axis.imshow(pixels(content, min(96, max(size(content)))))
        axis.set_title(title, fontsize=8)
    return figure
