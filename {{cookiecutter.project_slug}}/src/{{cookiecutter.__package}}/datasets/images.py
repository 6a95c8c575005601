"""Check and decode image files; the only module that imports Pillow."""

import base64
import io
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import pandas as pd
from markupsafe import Markup
from PIL import Image, ImageOps

from .. import BadRows

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")  # formats that Pillow may decode
BYTES = 20_000_000  # largest file
SIDE = 8_000  # largest width and height, in pixels
SIZE_FACTOR = 4  # accepted images are at most this many times smaller or larger than all training images
SHOWN, PIXELATED = 96, 32  # pixels of a thumbnail's side, and up to which its pixels are shown as such
BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # raised by Pillow for bad files

_TROUBLES: dict[bytes, str] = {}  # of files that were decoded, by their hash


def readable(content: bytes) -> bool:
    """Return whether the bytes are a complete image within the limits; use it as a check in a schema."""
    return not trouble(content)


def trouble(content: bytes) -> str:
    """Return why the bytes cannot be used as an image, or an empty text if they can; a file is decoded once."""
    digest = blake2b(content, digest_size=16).digest()
    if digest not in _TROUBLES:
        try:
            pixels(content, 1)
            _TROUBLES[digest] = ""
        except BadRows as bad:
            _TROUBLES[digest] = str(bad)
    return _TROUBLES[digest]


def accepted_sides(contents: Iterable[bytes]) -> tuple[float, float]:
    """Return the smallest and the largest side of images that go with these, in pixels."""
    sides = [side for content in contents for side in size(content)]
    return min(sides) / SIZE_FACTOR, max(sides) * SIZE_FACTOR


def unusual_size(content: bytes, least: float, most: float) -> str:
    """Return how the image's size is off these sides, or an empty text."""
    width, height = size(content)
    if least <= min(width, height) <= max(width, height) <= most:
        return ""
    return f"the image has {width} x {height} pixels, but the model takes {least:g} to {most:g} a side"


def reasons(contents: pd.Series, held: pd.Series) -> pd.Series:
    """Return why each file is no usable image, an empty text if it is: as a model would say that learns from some.

    Args:
        contents: The files.
        held: Which of them no model learns from.
    """
    found = contents.map(trouble)
    good = found == ""
    if (good & ~held).any():
        least, most = accepted_sides(contents[good & ~held])
        found[good] = contents[good].map(lambda content: unusual_size(content, least, most))
    return found


def size(content: bytes) -> tuple[int, int]:
    """Return width and height in pixels, read from the file's header.

    Raises:
        BadRows: The file is no image, or is too large, animated, or of more than 8 bits per channel.
    """
    if len(content) > BYTES:
        raise BadRows(f"the file has {len(content):,} bytes, at most {BYTES:,} are read")
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise BadRows(f"the image has {image.n_frames} frames: send one of them")
            if max(image.size) > SIDE:
                raise BadRows(f"the image has {image.width} x {image.height} pixels: make it at most {SIDE} a side")
            if image.mode.startswith(("I", "F")):
                raise BadRows("the image has more than 8 bits per channel: convert it to 8 bits")
            return image.size
    except BROKEN as error:
        raise BadRows(f"the file is no image that can be read, of {', '.join(FORMATS)}") from error


def pixels(content: bytes, side: int) -> np.ndarray:
    """Return the image as RGB pixels, `(side, side, 3)` of uint8.

    The image is turned upright by its EXIF orientation, put on white where it is transparent, and resized to a square.

    Raises:
        BadRows: The file cannot be decoded, or `size` refuses it.
    """
    size(content)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            image.draft("RGB", (2 * side, 2 * side))  # decode a large JPEG at reduced size
            seen = ImageOps.exif_transpose(image).convert("RGBA")
    except BROKEN as error:
        raise BadRows("the image is cut off or damaged") from error
    white = Image.new("RGBA", seen.size, "white")
    return np.asarray(Image.alpha_composite(white, seen).convert("RGB").resize((side, side), Image.Resampling.BILINEAR))


def sheet(contents: Iterable[bytes], words: Iterable[str]) -> Markup:
    """Return the images side by side for a page, each with its words below it."""
    drawn = [
        Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(thumbnail(content, str(title)), title)
        for content, title in zip(contents, words, strict=True)
    ]
    return Markup('<div class="sheet">{}</div>').format(Markup("").join(drawn))


def thumbnails(contents: Iterable[bytes], captions: Iterable[str]) -> dict[str, Markup]:
    """Return each image for a page by its caption."""
    return {caption: thumbnail(content, caption) for content, caption in zip(contents, captions, strict=True)}


def thumbnail(content: bytes, words: str) -> Markup:
    """Return an image for a page, at most `SHOWN` pixels a side and inside the page's own text."""
    side, buffer = min(SHOWN, max(size(content))), io.BytesIO()
    kind = "png" if side <= PIXELATED else "webp"
    Image.fromarray(pixels(content, side)).save(buffer, kind)
    source = base64.b64encode(buffer.getvalue()).decode()
    style = "pixelated" if side <= PIXELATED else "thumbnail"
    return Markup('<img class="{}" alt="{}" src="data:image/{};base64,{}">').format(style, words, kind, source)
