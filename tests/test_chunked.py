"""Dask in, dask out: nothing computed by asking, the same values as in memory, in the array's own chunks."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, Self

import dask
import dask.array as da
import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

import geonp
from geonp import chunked
from geonp.chunked import Sample
from geonp.errors import GeonpWarning, InputError, MethodError, UsageError
from geonp.field import Window
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.base import Completed, Method, Place, Values
from geonp.methods.classical import Cubic, Nearest
from geonp.methods.kriging import Kriging
from geonp.mosaic import Mosaic, Piece, cut

MODEL = Covariance((Structure("matern32", 900.0, 600.0),), 4.0)
CHUNKS = [{"y": 20, "x": 17}, {"y": 96, "x": 80}, {"y": 7, "x": 80}, {"y": (50, 10, 36), "x": (3, 77)}]


def refuse(*_: object, **__: object) -> NoReturn:
    raise AssertionError("something was computed")


def asked(array: xr.DataArray, method: object, **how: object) -> xr.Dataset:
    """What completing a dask array answers, where nothing can be computed."""
    with dask.config.set(scheduler=refuse):
        return array.geonp.complete(method, **how)


def computed(lazy: xr.Dataset) -> xr.Dataset:
    with dask.config.set(scheduler="synchronous"):
        return lazy.compute()


@dataclass(frozen=True)
class BoxMean(Method):
    """Mean of the observed pixels in a box, minus that of the raster; its halo is known once it is prepared."""

    name: ClassVar[str] = "box-mean"
    has_variance: ClassVar[bool] = False
    radius: int = 3
    shown: int = 0
    level: float = 0.0

    @property
    def halo(self) -> int:
        return self.shown

    def prepare(self, field: xr.DataArray) -> Self:
        return replace(self, shown=self.radius, level=float(np.nanmean(field.to_numpy())))

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        size = (1, 2 * self.radius + 1, 2 * self.radius + 1)
        known = np.isfinite(values).astype("f8")
        total = uniform_filter(np.nan_to_num(values).astype("f8"), size, mode="constant")
        weight = np.maximum(uniform_filter(known, size, mode="constant"), 1e-9)
        return Completed((total / weight - self.level).astype("f4")[:, *place.inside])


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("method", ["nearest", "fillnodata"])
def test_chunks_leave_no_trace(survey: xr.DataArray, method: object, chunks: dict[str, object]) -> None:
    assert_same(survey, method, chunks)


def test_kriging_learns_in_a_task_of_its_own(survey: xr.DataArray) -> None:
    assert_same(survey[:40, :48], Kriging(covariance=MODEL, neighbours=12), {"y": (15, 25), "x": 20})


def assert_same(survey: xr.DataArray, method: object, chunks: dict[str, object]) -> None:
    variance = isinstance(method, Kriging)
    whole = survey.geonp.complete(method, variance=variance, status=True)
    lazy = asked(survey.chunk(chunks), method, variance=variance, status=True, tile=24)
    assert all(lazy[name].chunks == survey.chunk(chunks).chunks for name in whole)
    assert all(lazy[name].dtype == whole[name].dtype for name in whole)
    done = computed(lazy)
    for name in whole:
        np.testing.assert_allclose(done[name], whole[name], rtol=2e-5, atol=2e-4)
        xr.testing.assert_identical(done[name].copy(data=whole[name].values), whole[name])


@pytest.mark.parametrize("side", [16, 32, 64])
def test_a_feathered_method_gives_the_bytes_of_the_same_windows_in_memory(
    survey: xr.DataArray, side: int
) -> None:
    whole = survey.geonp.complete(Cubic(), variance=False, status=True, tile=32)
    lazy = asked(survey.chunk({"y": side, "x": side}), Cubic(), variance=False, status=True, tile=32)
    if side == 64:  # cut in halves, as the windows in memory are
        assert cut(survey.chunk({"y": side}).chunks[0], 32) == (0, 32, 64, 96)
    xr.testing.assert_equal(computed(lazy), whole)


def test_a_part_is_computed_from_its_own_surroundings(survey: xr.DataArray) -> None:
    whole = survey.geonp.complete("nearest", variance=False)["mean"]
    part = asked(survey.chunk({"y": 16, "x": 16}), "nearest", variance=False, tile=16)["mean"][30:50, 5:9]
    with dask.config.set(scheduler="synchronous"):
        np.testing.assert_array_equal(part.compute(), whole[30:50, 5:9])


@pytest.mark.parametrize("order", [("time", "y", "x"), ("y", "x", "time"), ("x", "time", "y")])
def test_other_dimensions_and_their_chunks_are_kept(survey: xr.DataArray, order: tuple[str, ...]) -> None:
    cube = xr.concat([survey, survey + 100, survey.shift(x=1)], dim="time").assign_coords(time=[10, 20, 30])
    cube = cube.transpose(*order)
    lazy = asked(cube.chunk({"time": 2, "y": 50, "x": 33}), "nearest", variance=False)["mean"]
    assert lazy.chunksizes == cube.chunk({"time": 2, "y": 50, "x": 33}).chunksizes
    done = computed(lazy.to_dataset(name="mean"))["mean"]
    xr.testing.assert_identical(done, cube.geonp.complete("nearest", variance=False)["mean"])


def test_two_dimensions_beside_the_grid_and_integers_as_they_are_stored() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((2, 3, 20, 30)) < 0.3, rng.normal(0, 1, (2, 3, 20, 30)), np.nan)
    cube = xr.DataArray(values, dims=("time", "level", "lat", "lon")).assign_coords(
        lat=50.0 - 0.1 * np.arange(20), lon=10 + 0.1 * np.arange(30)
    )
    cube = cube.odc.assign_crs("EPSG:4326")
    chunks = {"time": 1, "level": 3, "lat": 8, "lon": 30}
    lazy = asked(cube.chunk(chunks), "nearest", variance=False)
    assert lazy["mean"].chunksizes == cube.chunk(chunks).chunksizes
    xr.testing.assert_identical(computed(lazy), cube.geonp.complete("nearest", variance=False))


def test_every_variable_of_a_dataset_stays_lazy(survey: xr.DataArray) -> None:
    data = xr.Dataset({"depth": survey, "other": survey + 1}).chunk({"y": 40})
    with dask.config.set(scheduler=refuse):
        lazy = data.geonp.complete("pykrige", tile=48)
    assert all(lazy[name].chunks == data["depth"].chunks for name in lazy)
    assert lazy["depth"].attrs["ancillary_variables"] == "depth_variance"
    done = computed(lazy)
    expected = xr.Dataset({"depth": survey}).geonp.complete("pykrige", tile=40)
    np.testing.assert_allclose(done["depth"], expected["depth"], atol=1e-3)
    np.testing.assert_allclose(done["depth_variance"], expected["depth_variance"], rtol=1e-3)


def test_numpy_stays_numpy(survey: xr.DataArray) -> None:
    assert isinstance(survey.geonp.complete("nearest", variance=False)["mean"].data, np.ndarray)
    field = survey.expand_dims("band")
    assert isinstance(geonp.complete(field, Nearest(), variance=False)["mean"].data, np.ndarray)
    lazy = geonp.complete(field.chunk({"y": 20}), Nearest(), variance=False)["mean"]
    assert isinstance(lazy.data, da.Array)


def test_distributed_is_needed_by_clusters_alone() -> None:
    program = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
PathFinder.find_spec = lambda name, *where: None if name.split(".")[0] == "distributed" else find(name, *where)
import numpy as np, xarray as xr, geonp, geonp.cluster
survey = xr.DataArray(np.where(np.eye(9) > 0, 1.0, np.nan), dims=("y", "x"))
survey[0, 0] = 2.0
assert survey.geonp.complete("nearest", variance=False)["mean"].notnull().all()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_what_is_wrong_with_the_call_is_said_at_once_and_with_the_data_when_they_are_read(
    survey: xr.DataArray,
) -> None:
    chunks = survey.chunk({"y": 20})
    with pytest.raises(MethodError, match="gives no variance"):
        asked(chunks, "nearest")
    with pytest.raises(UsageError, match="tile"):
        asked(chunks, Nearest(), variance=False, tile=-1)
    empty = asked(chunks.where(chunks < 0), "nearest", variance=False)
    with pytest.raises(InputError, match="no pixel of 7680 is observed"):
        computed(empty)
    unknown = da.from_array(np.ones((4, 5), "f4"))
    unknown = unknown[unknown[:, 0] > 0]
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        geonp.complete(xr.DataArray(unknown, dims=("y", "x")), Nearest(), variance=False)


def test_degenerate_surveys_are_those_of_memory(survey: xr.DataArray) -> None:
    full = survey.fillna(3.0)
    with pytest.warns(GeonpWarning, match="every pixel is observed"):
        done = computed(asked(full.chunk({"y": 20}), "nearest", variance=False))
    np.testing.assert_array_equal(done["mean"], full)
    two = xr.full_like(survey, np.nan)
    two[5, 6], two[70, 60] = 1.0, 4.0
    with pytest.warns(GeonpWarning, match="too few to learn from"):
        done = computed(asked(two.chunk({"y": 20, "x": 50}), "pykrige"))
    assert float(done["mean"][0, 0]) == 2.5
    assert float(done["variance"][0, 0]) == 4.5


def test_a_method_that_turns_out_to_reach_far_is_given_every_observation(
    survey: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "_REACH", 8)
    method = BoxMean(radius=40)
    whole = survey.geonp.complete(method, variance=False, status=True)
    lazy = asked(survey.chunk({"y": 8, "x": 8}), method, variance=False, status=True, tile=8)
    xr.testing.assert_allclose(computed(lazy), whole, atol=1e-3)


def test_of_too_many_observations_a_sample_of_blocks_is_learnt_from(
    survey: xr.DataArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunked, "_LEARNT", 1500)
    chunks = survey.chunk({"y": 16, "x": 16})
    level = survey.geonp.complete(BoxMean(), variance=False)["mean"]
    shift = computed(asked(chunks, BoxMean(), variance=False))["mean"] - level
    off = shift.values[survey.isnull().values]
    assert np.ptp(off) < 1e-3  # the surroundings are the same, what was learnt is not
    assert 0 < abs(off.mean()) < 50
    again = computed(asked(chunks, BoxMean(), variance=False))["mean"] - level
    xr.testing.assert_identical(again, shift)
    monkeypatch.setattr(chunked, "_REACH", 8)
    far = asked(chunks, BoxMean(radius=40), variance=False)
    with pytest.raises(UsageError, match=r"reads 40 pixels.*prepare"):
        computed(far)
    prepared = BoxMean(radius=40, shown=40)
    assert bool(computed(asked(chunks, prepared, variance=False))["mean"].notnull().all())


def test_every_block_of_the_source_is_read_once(survey: xr.DataArray) -> None:
    read = []

    def look(block: np.ndarray) -> np.ndarray:
        read.append(block.shape)
        return block

    data = da.from_array(survey.values, chunks=(24, 20)).map_blocks(
        look, dtype="f4", meta=np.empty((0, 0), "f4")
    )
    lazy = survey.copy(data=data).geonp.complete("nearest", variance=False, status=True, tile=24)
    computed(lazy)
    assert len(read) == 16


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=20),
    fan=st.integers(2, 5),
    limit=st.integers(0, 400),
)
def test_a_sample_is_the_same_whatever_way_it_was_merged(sizes: list[int], fan: int, limit: int) -> None:
    ranks = np.random.default_rng(0).permutation(len(sizes)).tolist()
    pieces = [
        Piece(Window(i, 0, 1, 30), 1, np.zeros(n, "f4"), np.zeros(n, "u4")) for i, n in enumerate(sizes)
    ]
    parts = [Sample(((rank, piece),), limit, len(sizes)) for rank, piece in zip(ranks, pieces, strict=True)]
    at_once = Sample.merged(parts)
    while len(parts) > 1:
        parts = [Sample.merged(parts[i : i + fan]) for i in range(0, len(parts), fan)]
    assert [rank for rank, _ in parts[0].ranked] == [rank for rank, _ in at_once.ranked]
    kept = [rank for rank, _ in at_once.ranked]
    assert kept == list(range(len(kept)))
    assert (at_once.below == len(sizes)) == (len(kept) == len(sizes))


@settings(max_examples=50)
@given(
    chunks=st.lists(st.integers(1, 40), min_size=1, max_size=12).map(tuple),
    tile=st.integers(1, 50),
)
def test_cuts_put_chunks_together_or_cut_them_to_at_most_a_tile(chunks: tuple[int, ...], tile: int) -> None:
    edges = cut(chunks, tile)
    assert edges[0] == 0
    assert edges[-1] == sum(chunks)
    assert all(0 < size <= tile for size in np.diff(edges))
    if max(chunks) <= tile:
        assert set(edges) <= {0, *np.cumsum(chunks).tolist()}


def test_a_mosaic_reads_what_its_pieces_hold() -> None:
    values = np.random.default_rng(0).normal(size=(3, 20, 30)).astype("f4")
    values[:, values[0] < 0.8] = np.nan
    pieces = [Piece.packed(w, values[:, w.row : w.stop[0], w.col : w.stop[1]]) for w in (
        Window(0, 0, 7, 30), Window(7, 0, 13, 11), Window(7, 11, 13, 19))]  # fmt: skip
    assert all(piece.index is not None for piece in pieces)
    whole = Mosaic(values.shape, pieces).field({}, {}, None, "")
    np.testing.assert_array_equal(whole[1:, 3:19:2, 28:2:-3], values[1:, 3:19:2, 28:2:-3])
    partly = Mosaic(values.shape, pieces[1:]).field({}, {}, None, "").to_numpy()
    assert np.isnan(partly[:, :7]).all()
    np.testing.assert_array_equal(partly[:, 7:], values[:, 7:])


def test_results_go_to_zarr_whole_and_region_by_region(survey: xr.DataArray, tmp_path: Path) -> None:
    whole = survey.geonp.complete(BoxMean(), variance=False, status=True)
    lazy = asked(survey.chunk({"y": 32, "x": 40}), BoxMean(), variance=False, status=True, tile=32)
    lazy.to_zarr(tmp_path / "at-once.zarr")
    lazy.to_zarr(tmp_path / "regions.zarr", compute=False)
    for rows in (slice(64, 96), slice(0, 32), slice(32, 64)):
        part = lazy.isel(y=rows).drop_vars("spatial_ref")
        part.to_zarr(tmp_path / "regions.zarr", region={"y": rows, "x": slice(0, 80)})
    for name in ("at-once.zarr", "regions.zarr"):
        with xr.open_zarr(tmp_path / name) as back:
            assert back["mean"].chunks == lazy["mean"].chunks
            np.testing.assert_allclose(back["mean"], whole["mean"], atol=1e-3)
            np.testing.assert_array_equal(back["status"], whole["status"])
            np.testing.assert_array_equal(back.x, survey.x)
