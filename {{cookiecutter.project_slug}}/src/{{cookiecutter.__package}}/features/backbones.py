"""Images -> features, by hand or by a pretrained network."""

import numpy as np

from .. import ROOT, Refused, first_line

ORIENTATIONS = 9  # bins of the histograms of oriented gradients
COARSE, FINE = 8, 4  # pixels of a cell's side: for shapes, for textures
QUANTILES = 9  # of each colour channel
SHADES = 4  # bins of each channel in the histogram of colours
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's channels, as networks expect them

_LOADED: dict[str, "Network"] = {}


def pixels(batch: np.ndarray) -> np.ndarray:
    """Return the images, `(n, side, side, 3)` of uint8, averaged to 8 x 8 pixels in [0, 1]: `(n, 192)`."""
    count, side = batch.shape[:2]
    coarse = batch.reshape(count, 8, side // 8, 8, side // 8, 3).mean(axis=(2, 4), dtype=np.float32)  # (n, 8, 8, 3)
    return coarse.reshape(count, -1) / 255


def gradients(batch: np.ndarray) -> np.ndarray:
    """Return shapes, textures, colours and the coarse pixels: `(n, features)`.

    Shapes and textures are histograms of oriented gradients, see Dalal and Triggs (2005), "Histograms of oriented
    gradients for human detection".
    """
    grey = batch.mean(axis=3, dtype=np.float32) / 255  # (n, side, side)
    fine = orientations(grey, FINE)  # (n, side / 4, side / 4, 9)
    textures = [np.sqrt(fine).mean((1, 2)), fine.std((1, 2)), fine.max((1, 2)), np.sqrt(np.sort(fine)).mean((1, 2))]
    return np.hstack([shapes(orientations(grey, COARSE)), *textures, pixels(batch), colours(batch)])


def orientations(grey: np.ndarray, cell: int) -> np.ndarray:
    """Return how strong edges of each direction are in each cell, `(n, cells, cells, ORIENTATIONS)`.

    Args:
        grey: Images in [0, 1], `(n, side, side)`.
        cell: The side of a cell in pixels.
    """
    count, cells = len(grey), grey.shape[1] // cell
    down, right = np.gradient(grey, axis=(1, 2))
    magnitude, angle = np.hypot(down, right), np.arctan2(down, right) % np.pi * ORIENTATIONS / np.pi
    found = np.empty((count, cells, cells, ORIENTATIONS), np.float32)
    for i in range(ORIENTATIONS):
        distance = np.abs(angle - i)  # from the bin, in bins; angles are cyclic
        share = magnitude * np.clip(1 - np.minimum(distance, ORIENTATIONS - distance), 0, 1)
        found[..., i] = share.reshape(count, cells, cell, cells, cell).mean(axis=(2, 4))
    return found


def shapes(cells: np.ndarray) -> np.ndarray:
    """Return histograms of blocks of 2 x 2 cells, each of length 1 and with no dominant edge: `(n, values)`."""
    if cells.shape[1] > 1:
        cells = np.concatenate([cells[:, :-1, :-1], cells[:, 1:, :-1], cells[:, :-1, 1:], cells[:, 1:, 1:]], axis=-1)
    for _ in range(2):
        cells = np.minimum(cells / (np.linalg.norm(cells, axis=-1, keepdims=True) + 0.02), 0.2)
    return (cells / (np.linalg.norm(cells, axis=-1, keepdims=True) + 0.02)).reshape(len(cells), -1)


def colours(batch: np.ndarray) -> np.ndarray:
    """Return quantiles of red, green, blue and two contrasts of these, and a histogram of colours: `(n, values)`."""
    count = len(batch)
    flat = batch.reshape(count, -1, 3).astype(np.float32) / 255  # (n, pixels, 3)
    red, green, blue = np.moveaxis(flat, -1, 0)
    channels = np.sort(np.stack([red, green, blue, red - green, (red + green) / 2 - blue], axis=1))  # (n, 5, pixels)
    places = np.linspace(0, channels.shape[2] - 1, QUANTILES).astype(int)
    shades = np.minimum(flat * SHADES, SHADES - 1).astype(int) @ [SHADES**2, SHADES, 1]  # (n, pixels)
    counts = np.array([np.bincount(each, minlength=SHADES**3) for each in shades]) / shades.shape[1]
    return np.hstack([channels[:, :, places].reshape(count, -1), np.sqrt(counts)])


def read_network(path: str) -> np.ndarray:
    """Return the bytes of a network's file, uint8: a model keeps them, so that a version stays whole.

    Args:
        path: Of an ONNX file, from the project's folder.
    """
    try:
        return np.frombuffer((ROOT / path).read_bytes(), np.uint8)
    except OSError as error:
        raise Refused(f"params.yaml: network {path!r} cannot be read: {first_line(error)}") from error


class Network:
    """A pretrained network in the ONNX format, run in one thread, whose sums have one order.

    Attributes:
        side: The side of the images that it takes, in pixels; None if it takes any.
    """

    def __init__(self, weights: np.ndarray) -> None:
        """Load what `read_network` returned; raise Refused if it cannot be run."""
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise Refused("a network needs onnxruntime: uv add onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        try:
            self._session = onnxruntime.InferenceSession(weights.tobytes(), options, ["CPUExecutionProvider"])
        except Exception as error:  # its errors have no common type
            raise Refused(f"the network cannot be run by onnxruntime: {first_line(error)}") from error
        self._input = self._session.get_inputs()[0]
        self._channels_last = self._input.shape[-1] == 3
        side = self._input.shape[1 if self._channels_last else -1]
        self.side = side if isinstance(side, int) else None

    def __call__(self, batch: np.ndarray) -> np.ndarray:
        """Return the first output for each image, averaged over places if it is a map: `(n, features)`.

        Args:
            batch: Images, `(n, side, side, 3)` of uint8; the network gets them normalised as ImageNet's are.
        """
        images = ((batch / 255 - MEAN) / DEVIATION).astype(np.float32)
        images = images if self._channels_last else images.transpose(0, 3, 1, 2)
        found = np.asarray(self._session.run(None, {self._input.name: images})[0], np.float32)
        middle = tuple(range(1, found.ndim - 1)) if self._channels_last else tuple(range(2, found.ndim))
        return found.mean(axis=middle) if middle else found


def loaded_network(weights: np.ndarray, digest: str) -> Network:
    """Return the network with this SHA-256, loaded once in a process."""
    if digest not in _LOADED:
        _LOADED[digest] = Network(weights)
    return _LOADED[digest]
