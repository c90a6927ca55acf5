"""Loaders of image sets: arrays of unsigned bytes, (images, bands, rows, columns)."""

from __future__ import annotations

import gzip
import io
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from geonp.errors import InputError, UsageError

from .registry import data_set
from .store import Store

Bytes = NDArray[np.uint8]

_CELEBA_TRAIN, _CELEBA_TEST = 60_000, 5_000
_CELEBA_SIDE = 32
_INDUSTRIAL = "Industrial"
_INDUSTRIAL_TRAIN = 1400
_DIGITS_MAGIC = b"\x00\x00\x08\x03"


class ImageSet(NamedTuple):
    """Images to learn from, images to test on, and where they come from; (N, C, H, W), unsigned bytes."""

    name: str
    train: Bytes
    test: Bytes
    source: str


def load_images(name: str, store: Store | None = None) -> ImageSet:
    """Return an image set: `mnist`, `fashion-mnist`, `celeba`, `faces` or `eurosat`.

    Raises
    ------
    UsageError
        If there is no such image set.
    InputError
        If a file is missing (the message says how to get it) or damaged.
    """
    if name not in LOADERS:
        raise UsageError(f"{name!r} is no set of images; choose one of {', '.join(LOADERS)}")
    return LOADERS[name](name, store or Store.default())


def _idx(name: str, store: Store) -> ImageSet:
    """Read MNIST's format: four bytes of magic, three sizes, pixels."""
    data = data_set(name)
    train, test = (store.need(data, file) for file in data.files)
    return ImageSet(name, read_idx(train), read_idx(test), _told(train, data.title))


def read_idx(path: Path) -> Bytes:
    """Return the images of a gzipped idx file, (N, 1, H, W).

    Raises
    ------
    InputError
        If it is not one, or is cut short.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        raise InputError(f"{path}: is not a gzip file, or damaged; fetch it again") from None
    shape = np.frombuffer(content[4:16], ">u4").astype(int)
    if content[:4] != _DIGITS_MAGIC or shape.size != 3 or len(content) != 16 + shape.prod():
        raise InputError(f"{path}: is not a file of images in idx format, or cut short; fetch it again")
    pixels: Bytes = np.frombuffer(content, np.uint8, offset=16)
    return pixels.reshape(shape[0], 1, shape[1], shape[2])


def _faces(name: str, store: Store) -> ImageSet:
    data = data_set(name)
    train, test = (store.need(data, file) for file in data.files)
    return ImageSet(name, _npz(train), _npz(test), _told(train, data.title))


def _npz(path: Path) -> Bytes:
    try:
        with np.load(path, allow_pickle=False) as content:
            images = np.asarray(content["x"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path}: is not a NumPy archive with an array x; get it again") from None
    if images.ndim != 4 or images.dtype != np.uint8:
        raise InputError(
            f"{path}: x is {images.dtype} {images.shape}; it must be bytes (N, rows, columns, 3)"
        )
    return np.ascontiguousarray(np.moveaxis(images, -1, 1))


def _eurosat(name: str, store: Store) -> ImageSet:
    """Read the industrial areas: the first 1400 to learn from, the others to test on."""
    data = data_set(name)
    (file,) = data.files
    path = store.need(data, file)
    with _zip(path) as archive:
        found = {
            int(PurePosixPath(member).stem.partition("_")[2]): member
            for member in archive.namelist()
            if PurePosixPath(member).parent.name == _INDUSTRIAL and member.endswith(".jpg")
        }
        if len(found) <= _INDUSTRIAL_TRAIN:
            raise InputError(f"{path}: holds {len(found)} images of {_INDUSTRIAL}; the whole set has 2500")
        order = sorted(found)
        train = read_jpegs(archive, [found[i] for i in order if i <= _INDUSTRIAL_TRAIN])
        test = read_jpegs(archive, [found[i] for i in order if i > _INDUSTRIAL_TRAIN])
    return ImageSet(name, train, test, f"{_told(path, data.title)}; class {_INDUSTRIAL}")


def read_jpegs(archive: zipfile.ZipFile, members: Sequence[str]) -> Bytes:
    """Return JPEG images of one size out of an archive, (N, 3, H, W)."""
    from matplotlib.image import imread

    images = [imread(io.BytesIO(archive.read(member)), format="jpg") for member in members]
    return np.ascontiguousarray(np.moveaxis(np.stack(images), -1, 1))


def _celeba(name: str, store: Store) -> ImageSet:
    """Read the first 60,000 training and 5,000 test faces: the middle square, averaged down to 32 x 32."""
    data = data_set(name)
    images, partition = (store.need(data, file) for file in data.files)
    parts: dict[str, list[str]] = {"0": [], "2": []}
    for line in partition.read_text(encoding="ascii").splitlines():
        member, _, part = line.partition(" ")
        if part.strip() in parts:
            parts[part.strip()].append(member)
    with _zip(images) as archive:
        train = _squares(archive, parts["0"][:_CELEBA_TRAIN])
        test = _squares(archive, parts["2"][:_CELEBA_TEST])
    return ImageSet(name, train, test, f"{_told(images, data.title)}; middle square, averaged to 32 x 32")


def _squares(archive: zipfile.ZipFile, names: Sequence[str]) -> Bytes:
    from matplotlib.image import imread
    from skimage.transform import resize

    out = np.empty((len(names), 3, _CELEBA_SIDE, _CELEBA_SIDE), np.uint8)
    for index, name in enumerate(names):
        image = imread(io.BytesIO(archive.read(f"img_align_celeba/{name}")), format="jpg")
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = image[top : top + side, left : left + side]
        small = resize(square, (_CELEBA_SIDE, _CELEBA_SIDE), anti_aliasing=True, preserve_range=True)
        out[index] = np.moveaxis(np.round(small).astype(np.uint8), -1, 0)
    return out


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile):
        raise InputError(f"{path}: is not a zip archive, or cut short; fetch it again") from None


def _told(path: Path, title: str) -> str:
    return f"{title} ({path.name})"


LOADERS: Mapping[str, Callable[[str, Store], ImageSet]] = MappingProxyType(
    {"mnist": _idx, "fashion-mnist": _idx, "celeba": _celeba, "faces": _faces, "eurosat": _eurosat}
)
