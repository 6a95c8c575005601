"""Image files: what is refused and how it is said, what a backbone gets, and that many do not fill the memory."""

import io
import tracemalloc
from importlib import import_module

import numpy as np
import pandas as pd
import pytest
from PIL import Image

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
classifier = import_module(f"{PACKAGE}.models.image_classifier")
contract = import_module(f"{PACKAGE}.training.contract")
images = import_module(f"{PACKAGE}.datasets.images")

FRAMES = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in range(3)]


def file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no image that can be read"),
        (b"<svg/>", "no image that can be read"),
        (file(noise(64))[:2000], "cut off or damaged"),
        (file(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "3 frames"),
        (file(Image.new("1", (images.SIDE + 1, 8))), "make it at most"),
        (b"\x89PNG" + bytes(images.BYTES), "bytes, at most"),
        (file(Image.fromarray(np.full((8, 8), 4000, np.uint16))), "8 bits"),
    ],
    ids=["nothing", "no pixels", "cut off", "animated", "huge", "many bytes", "16 bits"],
)
def test_what_is_no_usable_image_is_refused_with_the_reason(content, words):
    assert words in images.trouble(content)
    assert not images.readable(content)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_usual_kind_of_image_becomes_colours_on_white(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"

    assert images.pixels(file(Image.new(mode, (20, 30)), kind), 32).shape == (32, 32, 3)
    assert images.pixels(file(Image.new("RGBA", (8, 8), (0, 0, 0, 0))), 8).min() == 255


@pytest.mark.parametrize(("side", "wanted"), [(2, "2 x 2 pixels"), (200, "200 x 200 pixels")])
def test_an_image_of_quite_another_size_is_refused_and_its_row_named(side, wanted):
    features = classifier.Features("content", "pixels", 32).fit(pd.DataFrame({"content": [file(noise(16))]}))

    with pytest.raises(package.BadRows, match=f"row 1: the image has {wanted}"):
        features.transform(pd.DataFrame({"content": [file(noise(16)), file(noise(side))]}))


def test_a_backbone_of_one_s_own_is_trained_on_saved_and_loaded(trained, tmp_path, monkeypatch):
    """A stand-in for a pretrained network: batches of images in, features out."""

    def brightness(batch):
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (32, 32, 3)
        return batch.mean(axis=(1, 2)) / 255

    monkeypatch.setitem(classifier.BACKBONES, "brightness", brightness)
    model = contract.load_model("image_classifier")
    rows = pd.read_parquet(model.files.train)
    estimator = classifier.fit(rows, model.table, classifier.Params(backbone="brightness"))
    facts = {"model": "x", "table": "x", "inputs": [], "examples": [], "predictions": []}
    artifact.save(tmp_path, estimator, facts, classifier.TRUSTED)
    found = classifier.predict(artifact.load(tmp_path, classifier.TRUSTED), rows)

    pd.testing.assert_frame_equal(found, classifier.predict(estimator, rows))
    assert estimator[0].transform(rows).shape == (len(rows), 3)


def test_an_unknown_backbone_is_named():
    with pytest.raises(package.Refused, match="no backbone 'rubbish'"):
        classifier.Params(backbone="rubbish")


def test_ten_thousand_images_are_never_all_in_memory():
    contents = [file(noise(48, seed)) for seed in range(20)] * 500
    rows = pd.DataFrame({"content": contents})
    features = classifier.Features("content", "gradients", 32).fit(rows)
    tracemalloc.start()
    try:
        found = features.transform(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(found) == 10_000
    assert peak - found.nbytes < 10_000 * 48 * 48 * 3 * 4 / 5
