"""Loaders on tiny files made here, in the formats of the originals."""

import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from geonp.datasets import Store
from geonp.datasets.heaton import load_heaton
from geonp.datasets.images import load_images, read_idx
from geonp.datasets.rasters import load_rasters

from geonp.errors import InputError, UsageError

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


def idx(images: np.ndarray) -> bytes:
    return gzip.compress(struct.pack(">IIII", 2051, *images.shape) + images.tobytes())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", tmp_path / "copies")


def place(store: Store, folder: str, name: str, content: bytes) -> Path:
    assert store.copies is not None
    path = store.copies / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_idx(store: Store) -> None:
    place(store, "mnist", "train-images-idx3-ubyte.gz", idx(IMAGES))
    place(store, "mnist", "t10k-images-idx3-ubyte.gz", idx(IMAGES[:2]))
    found = load_images("mnist", store)
    np.testing.assert_array_equal(found.train[:, 0], IMAGES)
    np.testing.assert_array_equal(found.test[:, 0], IMAGES[:2])


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", idx(IMAGES)[:-9], gzip.compress(b"\0\0\x08\x01" + b"\0" * 30), gzip.compress(b"\0")],
    ids=["empty", "no gzip", "cut short", "labels", "one byte"],
)
def test_idx_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match="fetch it again"):
        read_idx(path)


def test_idx_cut_short_inside(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(gzip.decompress(idx(IMAGES))[:-1]))
    with pytest.raises(InputError, match="cut short"):
        read_idx(path)


def test_a_missing_set_says_how_to_get_it(store: Store) -> None:
    with pytest.raises(InputError, match=r"run `geonp datasets fetch mnist`, or get https://.* put it at"):
        load_images("mnist", store)
    with pytest.raises(UsageError, match="no set of images"):
        load_images("heaton", store)


def test_faces(store: Store) -> None:
    content = io.BytesIO()
    colours = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), np.uint8)
    np.savez(content, x=colours)
    place(store, "faces", "faces32_train.npz", content.getvalue())
    place(store, "faces", "faces32_devtest.npz", content.getvalue())
    assert (load_images("faces", store).train[1, 2] == colours[1, :, :, 2]).all()


def test_faces_are_never_unpickled(store: Store) -> None:
    content = io.BytesIO()
    np.savez(content, x=np.array([{"a": 1}], object))
    for name in ("faces32_train.npz", "faces32_devtest.npz"):
        place(store, "faces", name, content.getvalue())
    with pytest.raises(InputError, match="NumPy archive"):
        load_images("faces", store)


def jpeg(value: int) -> bytes:
    with rasterio.MemoryFile() as file:
        with file.open(driver="JPEG", width=8, height=8, count=3, dtype="uint8", QUALITY=100) as out:
            out.write(np.full((3, 8, 8), value, np.uint8))
        return bytes(file.read())


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_eurosat_divides_by_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geonp.datasets.images._INDUSTRIAL_TRAIN", 2)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for number in (10, 2, 1, 3):  # the archive's own order is by text
            archive.writestr(f"2750/Industrial/Industrial_{number}.jpg", jpeg(20 * number))
        archive.writestr("2750/River/River_1.jpg", jpeg(0))
    place(store, "eurosat", "eurosat_rgb_dev.zip", content.getvalue())
    found = load_images("eurosat", store)
    assert found.train.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(found.train.mean((1, 2, 3)), [20, 40], atol=2)
    np.testing.assert_allclose(found.test.mean((1, 2, 3)), [60, 200], atol=2)


def dem(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"crs": "EPSG:32616", "transform": rasterio.transform.from_origin(0, 300, 30, 30)}
    with rasterio.open(
        path, "w", driver="GTiff", width=9, height=10, count=1, dtype="float32", **grid
    ) as file:
        file.write(np.full((1, 10, 9), value, np.float32))


def test_dems_are_divided_as_the_registry_says(store: Store) -> None:
    assert store.copies is not None
    dem(store.copies / "dem" / "hakone_30m.tif", 1)
    with pytest.raises(InputError, match="no raster for training"):
        load_rasters("dem", store)
    dem(store.copies / "dem" / "other.tif", 2)
    found = load_rasters("dem", store)
    assert list(found.validation) == ["hakone_30m"]
    assert list(found.train) == ["other"]
    assert found.train["other"].shape == (1, 10, 9)


def test_tiles_that_were_fetched(tmp_path: Path) -> None:
    store = Store(tmp_path)
    dem(tmp_path / "copernicus" / "N46E008.tif", 1)
    dem(tmp_path / "copernicus" / "N49E011.tif", 2)
    found = load_rasters("copernicus", store)
    assert (list(found.train), list(found.validation)) == (["N46E008"], ["N49E011"])


def test_tfasr_is_divided_by_folder(tmp_path: Path) -> None:
    dem(tmp_path / "train" / "a.tif", 1)
    dem(tmp_path / "test" / "b.tif", 2)
    (tmp_path / "tfasr").mkdir()
    with zipfile.ZipFile(tmp_path / "tfasr" / "tfasr.zip", "w") as archive:
        for name in ("train/a.tif", "test/b.tif"):
            archive.write(tmp_path / name, f"TfaSR/{name}")
    found = load_rasters("tfasr", Store(tmp_path))
    assert (list(found.train), list(found.validation)) == (["a"], ["b"])


def test_heaton(store: Store) -> None:
    content = io.BytesIO()
    truth = np.arange(12.0).reshape(3, 4)
    seen = np.where(truth > 2, truth, np.nan)
    np.savez(content, lon=[10.0, 10.5, 11.0, 11.5], lat=[52.0, 51.0, 50.0], train=seen, truth=truth)
    place(store, "heaton", "heaton_simulated.npz", content.getvalue())
    found = load_heaton(store)
    np.testing.assert_array_equal(found.truth.to_numpy(), truth)
    np.testing.assert_array_equal(np.isnan(found.seen.to_numpy()), truth <= 2)
    np.testing.assert_allclose(found.truth.longitude, [10, 10.5, 11, 11.5])
    np.testing.assert_allclose(found.truth.latitude, [52, 51, 50])


@pytest.mark.data
def test_the_copies(data: Path) -> None:
    store = Store(data / "no-cache", data)
    assert load_images("mnist", store).train.shape == (60_000, 1, 28, 28)
    assert load_images("faces", store).test.shape == (1000, 3, 32, 32)
    heaton = load_heaton(store)
    assert int(heaton.seen.notnull().sum()) == 105_569
    assert int((heaton.truth.notnull() & heaton.seen.isnull()).sum()) == 44_431
    rasters = load_rasters("dem", store)
    assert len(rasters.validation) == 11
    assert not set(rasters.train) & set(rasters.validation)
