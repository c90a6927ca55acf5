"""Streaming: windows leave no trace, degenerate bands never reach a method, observed pixels come back."""

import threading
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from geonp.blend import Layers, assemble, cover
from geonp.completer import Completer, Given
from geonp.errors import GeonpWarning, InputError, MethodError, UsageError
from geonp.field import Window
from geonp.methods.base import Completed, Method, Place, Status, Values
from geonp.predict import begin, complete


@dataclass(frozen=True)
class LocalMean(Method):
    """Mean of the observed pixels in a box: exact with a halo of its radius."""

    name: ClassVar[str] = "local-mean"
    has_variance: ClassVar[bool] = True
    radius: int = 3
    overlap: int = 0
    seen: list = field(default_factory=list)

    @property
    def halo(self) -> int:
        return self.radius

    @property
    def feather(self) -> int:
        return self.overlap

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        self.seen.append(values.shape)
        size = (1, 2 * self.radius + 1, 2 * self.radius + 1)
        known = np.isfinite(values).astype("f8")
        total = uniform_filter(np.nan_to_num(values).astype("f8"), size, mode="constant")
        weight = uniform_filter(known, size, mode="constant")
        mean = np.where(weight > 1e-9, total / np.maximum(weight, 1e-9), 0).astype("f4")[:, *place.inside]
        return Completed(mean, np.full_like(mean, 2.0))


@dataclass(frozen=True)
class MeanOnly(LocalMean):
    name: ClassVar[str] = "mean-only"
    has_variance: ClassVar[bool] = False


def holey(shape: tuple[int, ...], fraction: float = 0.3, seed: int = 0) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    values = np.where(rng.random(shape) < fraction, rng.normal(100, 5, shape), np.nan)
    dims = ("band", "y", "x")[-len(shape) :]
    coords = {"y": np.arange(shape[-2]) * 30.0, "x": np.arange(shape[-1]) * 30.0}
    return xr.DataArray(values.astype("f4"), dims=dims, coords=coords).odc.assign_crs("EPSG:32611")


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(4, 40),
    cols=st.integers(4, 40),
    tile=st.integers(3, 50),
    overlap=st.integers(0, 5),
    seed=st.integers(0, 9),
)
def test_tiled_equals_whole(rows: int, cols: int, tile: int, overlap: int, seed: int) -> None:
    survey = holey((2, rows, cols), 0.5, seed)
    whole = complete(survey, LocalMean(), tile=1000, status=True)
    tiled = complete(survey, LocalMean(overlap=overlap), tile=tile, status=True)
    for name in ("mean", "variance", "status"):
        np.testing.assert_allclose(tiled[name], whole[name], rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    tile=st.integers(1, 30),
    feather=st.integers(0, 12),
)
def test_every_pixel_is_handed_on_once_and_averaged_with_weights_that_sum_to_one(
    shape: tuple[int, int], tile: int, feather: int
) -> None:
    plane = np.add.outer(np.arange(shape[0]) * 3.0, np.arange(shape[1]))[None].astype("f4")

    def compute(window: Window) -> Layers:
        part = plane[:, *window.within(Window.whole(shape))]
        return Layers(window, part, part + 1, np.full(part.shape, 2, np.uint8))

    got, count = np.full(plane.shape, np.nan), np.zeros(shape, int)
    for layers in assemble(shape, tile, feather, map(compute, cover(shape, tile, feather))):
        where = layers.window.within(Window.whole(shape))
        got[:, *where] = layers.mean
        count[where] += 1
        assert (layers.status == 2).all()
        np.testing.assert_allclose(layers.variance, layers.mean + 1, rtol=1e-5)
    assert (count == 1).all()
    np.testing.assert_allclose(got, plane, rtol=1e-5, atol=1e-5)


def test_feather_ramps_linearly_between_windows_that_disagree() -> None:
    def compute(window: Window) -> Layers:
        value = 0.0 if window.col == 0 else 1.0
        full = np.full((1, *window.shape), value, np.float32)
        return Layers(window, full, None, np.zeros(full.shape, np.uint8))

    (layers,) = assemble((1, 20), 10, 4, map(compute, cover((1, 20), 10, 4)))
    expected = np.clip((np.arange(20) + 0.5 - 6) / 8, 0, 1)
    np.testing.assert_allclose(layers.mean[0, 0], expected, atol=1e-5)


def test_observed_pixels_are_returned_untouched_with_variance_zero() -> None:
    survey = holey((20, 20))
    done = complete(survey, LocalMean(overlap=3), tile=7)
    seen = np.isfinite(survey.values)
    assert (done["mean"].values[0][seen] == survey.values[seen]).all()
    assert (done["variance"].values[0][seen] == 0).all()
    assert (done["variance"].values[0][~seen] == 2).all()
    smoothed = complete(survey, LocalMean(), keep_observed=False)
    assert not (smoothed["mean"].values[0][seen] == survey.values[seen]).all()


def test_status_tells_what_every_pixel_is() -> None:
    values = np.full((30, 30), np.nan, "f4")
    values[:4, :4] = np.arange(16).reshape(4, 4)
    survey = holey((30, 30)).copy(data=values)
    status = complete(survey, LocalMean(), status=True, tile=9)["status"].values[0]
    assert (status[:4, :4] == Status.OBSERVED).all()
    assert (status[:7, :7][4:] == Status.INTERPOLATED).all()
    assert (status[8:, 8:] == Status.EXTRAPOLATED).all()


def test_nothing_observed_is_an_error() -> None:
    survey = holey((5, 5)).copy(data=np.full((5, 5), np.inf, "f4"))
    with pytest.raises(InputError, match="25 are infinite"):
        complete(survey, LocalMean())


@pytest.mark.parametrize(("known", "mean", "variance"), [([4.0], 4, 16), ([4.0, 6.0], 5, 2), ([0.0], 0, 1)])
def test_one_or_two_observations_give_a_constant_and_a_prior(
    known: list, mean: float, variance: float
) -> None:
    values = np.full(25, np.nan, "f4")
    values[: len(known)] = known
    survey = holey((5, 5)).copy(data=values.reshape(5, 5))
    with pytest.warns(GeonpWarning, match="too few to learn from"):
        done = complete(survey, LocalMean())
    assert done["mean"].values[0, 4, 4] == mean
    assert done["variance"].values[0, 4, 4] == variance


def test_equal_values_give_that_value_and_no_variance() -> None:
    survey = holey((9, 9))
    survey = survey.copy(data=np.where(np.isfinite(survey), 7, np.nan).astype("f4"))
    done = complete(survey, LocalMean())
    assert (done["mean"] == 7).all()
    assert (done["variance"] == 0).all()


def test_a_full_raster_comes_back_with_a_note() -> None:
    survey = holey((9, 9), fraction=1.1)
    with pytest.warns(GeonpWarning, match="every pixel is observed"):
        done = complete(survey, LocalMean(), status=True)
    np.testing.assert_array_equal(done["mean"][0], survey)
    assert (done["variance"] == 0).all()
    assert (done["status"] == Status.OBSERVED).all()


def test_bands_without_data_stay_empty_and_never_reach_the_method() -> None:
    survey = holey((3, 12, 12))
    survey[1] = np.nan
    method = LocalMean()
    with pytest.warns(GeonpWarning, match="band 2 has no observed pixel"):
        done = complete(survey, method, status=True)
    assert np.isnan(done["mean"][1]).all()
    assert (done["status"][1] == Status.MASKED).all()
    assert np.isfinite(done["mean"][[0, 2]]).all()
    assert method.seen == [(2, 12, 12)]


def test_a_method_without_variance_says_which_have_one() -> None:
    with pytest.raises(MethodError, match=r"'mean-only' gives no variance.*kriging"):
        complete(holey((6, 6)), MeanOnly())
    assert set(complete(holey((6, 6)), MeanOnly(), variance=False)) == {"mean"}


def test_an_impossible_tile_is_refused() -> None:
    with pytest.raises(UsageError, match="tile of 0"):
        complete(holey((6, 6)), LocalMean(), tile=0)


def test_the_whole_raster_is_never_loaded() -> None:
    survey = holey((64, 64))
    method = LocalMean()
    complete(survey.chunk({"y": 16, "x": 16}), method, tile=16)
    assert max(shape[1] for shape in method.seen) <= 16 + 2 * 3


def test_windows_of_a_tall_geographic_raster_are_measured_where_they_are() -> None:
    found = []

    class Spy(LocalMean):
        def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
            found.append(spacing[1])
            return super().complete(values, spacing, place)

    survey = holey((60, 8))
    tall = survey.drop_vars("spatial_ref").assign_coords(y=60.0 - np.arange(60), x=np.arange(8.0))
    complete(tall.odc.assign_crs("EPSG:4326"), Spy(), tile=20)
    assert found[0] < 0.85 * found[-1]
    short = tall.assign_coords(y=45 - np.arange(60) / 1200)
    found.clear()
    complete(short.odc.assign_crs("EPSG:4326"), Spy(), tile=20)
    assert len(set(found)) == 1


def test_windows_are_read_while_others_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next window is read by another thread, at most one ahead; order and result are those of one by one."""
    events: list[tuple[str, Window]] = []
    ready = begin(holey((1, 30, 30)), LocalMean(), tile=10)
    read, compute = Completer.read, Completer.complete
    threads = set()

    def reading(self: Completer, wanted: Window) -> Given:
        threads.add(threading.current_thread().name)
        events.append(("read", wanted))
        return read(self, wanted)

    def computing(self: Completer, given: Given) -> Layers:
        events.append(("compute", given.place.wanted))
        return compute(self, given)

    monkeypatch.setattr(Completer, "read", reading)
    monkeypatch.setattr(Completer, "complete", computing)
    pieces = list(ready)
    assert [w for what, w in events if what == "compute"] == [w for what, w in events if what == "read"]
    assert [piece.window for piece in pieces] == ready.windows()
    ahead = np.cumsum([1 if what == "read" else -1 for what, _ in events])
    assert 0 <= ahead.min() <= ahead.max() <= 2
    assert threading.main_thread().name not in threads
    single = ready.completer()
    for piece in pieces:
        np.testing.assert_array_equal(single(piece.window).mean, piece.mean)


@pytest.mark.parametrize("overlap", [0, 2])
def test_only_the_surroundings_of_holes_are_computed(overlap: int) -> None:
    """Where windows leave no trace, neither do the rectangles around holes that they are narrowed to."""
    values = np.random.default_rng(0).normal(100, 5, (1, 40, 40)).astype("f4")
    values[0, 12:15, 5:9] = np.nan
    values[0, 33, 33] = np.nan
    survey = holey((1, 40, 40)).copy(data=values)
    method = LocalMean(overlap=overlap)
    done = complete(survey, method, tile=20, status=True)
    if overlap == 0:
        assert sorted(method.seen) == [(1, 7, 7), (1, 9, 10)]  # the holes, and 3 pixels around them
    else:
        assert min(shape[1] for shape in method.seen) > 20
    asked = LocalMean().complete(values, (30.0, 30.0), Place.whole((40, 40)))
    hole = np.isnan(values)
    np.testing.assert_allclose(done["mean"].values[hole], asked.mean[hole], rtol=1e-6)
    assert (done["mean"].values[~hole] == values[~hole]).all()
    assert (done["status"].values[hole] == Status.INTERPOLATED).all()
    smoothed = LocalMean()
    complete(survey, smoothed, tile=20, keep_observed=False)
    assert min(shape[1] for shape in smoothed.seen) > 20
