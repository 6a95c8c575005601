"""Image files: what is refused and how it is said, what a backbone gets, and that many do not fill the memory."""

import io
import tracemalloc
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from PIL import Image

PACKAGE = "{{ cookiecutter.__package }}"
package = import_module(PACKAGE)
artifact = import_module(f"{PACKAGE}.training.artifact")
classifier = import_module(f"{PACKAGE}.models.image_classifier")
images = import_module(f"{PACKAGE}.datasets.images")
tables = import_module(f"{PACKAGE}.datasets.table")

FRAMES = [Image.new("RGB", (16, 16), (60 * i, 0, 0)) for i in range(3)]


def file(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(side, seed=0):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def photos(first):
    """Return 60 images of three classes, with nothing to learn in them, by seeds from the first, and their table."""
    content = [file(noise(16, first + i)) for i in range(60)]
    own = SimpleNamespace(name="own", features=["content"], target="label", time=None, group=None)
    return pd.DataFrame({"content": content, "label": ["a", "b", "c"] * 20}), own


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


def test_a_backbone_of_one_s_own_is_trained_on_saved_and_loaded(tmp_path, monkeypatch):
    """A stand-in for a pretrained network: batches of images in, features out."""

    def brightness(batch):
        assert batch.dtype == np.uint8
        assert batch.shape[1:] == (32, 32, 3)
        return batch.mean(axis=(1, 2)) / 255

    monkeypatch.setitem(classifier.BACKBONES, "brightness", brightness)
    rows, own = photos(0)
    estimator = classifier.fit(rows, own, classifier.Params(backbone="brightness"))
    facts = {"model": "x", "table": "x", "inputs": [], "examples": [], "predictions": []}
    artifact.save(tmp_path, estimator, facts, classifier.TRUSTED)
    found = classifier.predict(artifact.load(tmp_path, classifier.TRUSTED), rows)

    pd.testing.assert_frame_equal(found, classifier.predict(estimator, rows))
    assert estimator[0].transform(rows).shape == (len(rows), 3)


def test_a_bad_file_is_named_by_its_key_with_the_true_reason_before_any_training():
    """Whether the schema asks for readable images, or for none, and whatever their size."""
    good = [file(noise(40, seed)) for seed in range(30)]
    rows = pd.DataFrame({"path": [f"{i}.png" for i in range(32)], "label": "a"})
    for asked in ([], [pa.Check(images.readable, element_wise=True, error="no image")]):
        schema = pa.DataFrameSchema(
            {"path": pa.Column(str), "content": pa.Column(object, asked), "label": pa.Column(str)}
        )
        own = tables.Table("own", lambda: rows, schema, target="label", key="path")
        with pytest.raises(package.Refused, match=r"cut off or damaged, 1 of 32 rows, e\.g\. path=30\.png") as said:
            tables.checked(own, rows.assign(content=[*good, file(noise(64))[:2000], b""]))
        assert "no image that can be read, of BMP" in str(said.value)
        assert "31.png" in str(said.value)
    held = tables.is_holdout(own, rows).to_numpy()
    odd = [file(noise(400 if i == held.argmax() else 40)) for i in range(32)]
    with pytest.raises(package.Refused, match="400 x 400 pixels, but the model takes 10 to 160 a side, 1 of 32 rows"):
        tables.checked(own, rows.assign(content=odd))


def test_the_strength_is_chosen_by_validation_and_noise_is_not_learned():
    """Of 60 images without anything to learn, a strength of 1 would be sure of most."""
    (rows, own), (unseen, _) = photos(0), photos(100)
    chosen, strong, naive = (
        classifier.losses(unseen, classifier.predict(each, unseen), own).mean()
        for each in (
            classifier.fit(rows, own, classifier.Params()),
            classifier.fit(rows, own, classifier.Params(strength=1.0)),
            classifier.baselines(rows, own, classifier.Params())["naive"],
        )
    )

    assert chosen < 1.05 * naive < strong


def field(number, value):
    """Return a field of a protocol buffer: an integer, or bytes."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def small_network():
    """Return an ONNX file, (n, 3, 8, 8) -> (n, 3, 1, 1), with one node: the mean over places."""
    node = field(1, b"x") + field(2, b"y") + field(4, b"GlobalAveragePool")
    ends = []
    for name, sizes in ((b"x", (None, 3, 8, 8)), (b"y", (None, 3, 1, 1))):
        shape = b"".join(field(1, field(2, b"n") if each is None else field(1, each)) for each in sizes)
        ends.append(field(1, name) + field(2, field(1, field(1, 1) + field(2, shape))))
    graph = field(1, node) + field(2, b"small") + field(11, ends[0]) + field(12, ends[1])
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 17))


def test_a_pretrained_network_is_a_file_that_the_model_keeps(tmp_path):
    pytest.importorskip("onnxruntime", reason="the library for networks is not installed")
    (tmp_path / "network.onnx").write_bytes(small_network())
    dark, light = (Image.new("RGB", (20, 20), (shade, 0, 0)) for shade in (40, 200))
    rows = pd.DataFrame({"content": [file(dark), file(light)] * 6, "label": ["dark", "light"] * 6})
    own = SimpleNamespace(name="own", features=["content"], target="label", time=None, group=None)
    estimator = classifier.fit(rows, own, classifier.Params(network=str(tmp_path / "network.onnx")))
    facts = {"model": "x", "table": "x", "inputs": [], "examples": [], "predictions": []}
    artifact.save(tmp_path, estimator, facts, classifier.TRUSTED)
    (tmp_path / "network.onnx").unlink()
    found = artifact.load(tmp_path, classifier.TRUSTED)

    assert found[0].transform(rows)[0] == pytest.approx([(40 / 255 - 0.485) / 0.229, -0.456 / 0.224, -0.406 / 0.225])
    assert classifier.predict(found, rows)["prediction"].tolist() == rows["label"].tolist()


def test_a_network_that_is_not_there_is_named():
    rows = pd.DataFrame({"content": [file(noise(16))]})
    with pytest.raises(package.Refused, match=r"network 'none\.onnx' cannot be read"):
        classifier.Features("content", "gradients", 32, "none.onnx").fit(rows)


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
