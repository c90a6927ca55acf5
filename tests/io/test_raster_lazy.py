"""Pixels are read when they are asked for, by whoever asks: windows, threads, other processes."""

import multiprocessing
import pickle
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import rasterio
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geonp.io import open_field
from geonp.io.raster import RasterArray, open_raster
from tests.io.grids import NORTH_UP
from tests.io.rasters import ramp, save


class TestLaziness:
    @pytest.fixture
    def big(self, tmp_path):
        """A sparse 20000 x 20000 raster whose last pixel is 5."""
        path = tmp_path / "big.tif"
        profile = {
            "count": 1,
            "height": 20_000,
            "width": 20_000,
            "dtype": "float32",
            "tiled": True,
            "nodata": -1,
        }
        with rasterio.open(
            path, "w", driver="GTiff", sparse_ok=True, crs="EPSG:32616", transform=NORTH_UP, **profile
        ) as file:
            file.write(np.full((1, 1, 1), 5, "f4"), window=rasterio.windows.Window(19_999, 19_999, 1, 1))
        return path

    @pytest.fixture
    def windows_read(self, monkeypatch):
        seen = []
        real = RasterArray._window
        monkeypatch.setattr(
            RasterArray, "_window", lambda self, bands, w: seen.append(w) or real(self, bands, w)
        )
        return seen

    def test_opening_reads_no_pixel(self, big, windows_read):
        open_field(big)  # what is loaded once for all is not counted
        tracemalloc.start()
        field = open_field(big)
        part = field.isel(y=slice(19_990, 20_000), x=slice(19_980, 20_000))
        assert windows_read == []
        values = part.to_numpy()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert [(w.row_off, w.col_off, w.height, w.width) for w in windows_read] == [(19_990, 19_980, 10, 20)]
        assert values[0, -1, -1] == 5
        assert np.isnan(values).sum() == 199
        assert peak < 4e6  # the raster has 1.6e9 bytes

    def test_a_step_does_not_load_what_lies_between(self, big):
        field = open_field(big)
        tracemalloc.start()
        assert field[0, ::500, ::500].to_numpy().shape == (40, 40)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3e8

    def test_values_are_not_kept(self, scene, windows_read):
        field = open_field(scene[0])
        field.to_numpy()
        field.to_numpy()
        assert len(windows_read) == 2


def slices(size):
    """Slices that select something; xarray itself fails on empty ones that run backwards."""
    return st.slices(size).filter(lambda s: len(range(size)[s]))


def indices(size):
    some = st.lists(st.integers(0, size - 1), min_size=1, max_size=4)
    return st.one_of(st.integers(0, size - 1), slices(size), some)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(band=st.one_of(st.integers(0, 1), slices(2)), y=indices(70), x=indices(90))
def test_indexing_is_that_of_numpy(scene, band, y, x):
    path, values = scene
    expected = values[band][..., y, :][..., x]
    np.testing.assert_array_equal(open_raster(path).isel(band=band, y=y, x=x).values, expected)


class TestSharing:
    def test_it_pickles_and_copies_without_pixels(self, scene):
        field = open_field(scene[0])
        data = pickle.dumps(field)
        assert len(data) < 20_000
        np.testing.assert_array_equal(pickle.loads(data).values, scene[1])
        np.testing.assert_array_equal(field.copy(deep=True).values, scene[1])

    def test_threads_read_what_one_would(self, scene):
        field, values = open_field(scene[0]), scene[1]

        def read(seed):
            row, col = np.random.default_rng(seed).integers(0, 50, 2)
            got = field.isel(y=slice(row, row + 20), x=slice(col, col + 20)).to_numpy()
            return np.array_equal(got, values[:, row : row + 20, col : col + 20])

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(read, range(200)))

    @pytest.mark.skipif(
        "fork" not in multiprocessing.get_all_start_methods(), reason="no fork on this system"
    )
    def test_a_forked_child_opens_its_own_handle(self, scene):
        field = open_field(scene[0])
        field[0, 0].load()
        handle = field.variable._data.array
        results = multiprocessing.get_context("fork").SimpleQueue()

        def child():
            ok = np.array_equal(field.values, scene[1])
            results.put((ok, handle._files._key))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads of other libraries
            process = multiprocessing.get_context("fork").Process(target=child)
            process.start()
        ok, key = results.get()
        process.join()
        assert ok
        assert key != handle._files._key

    def test_handles_that_were_closed_are_opened_again(self, scene, tmp_path):
        other = save(tmp_path / "other.tif", ramp(1, 5, 5))
        with xr.set_options(file_cache_maxsize=1):
            one, two = open_field(scene[0]), open_field(other)
            for _ in range(3):
                np.testing.assert_array_equal(one.values, scene[1])
                np.testing.assert_array_equal(two.values, ramp(1, 5, 5))
