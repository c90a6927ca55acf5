"""A network as a method: canvases, scales, mixtures, warnings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from torch import Tensor, nn

from geonp.errors import GeonpWarning, ModelError, UsageError
from geonp.field import Window, as_field
from geonp.io.checkpoint import Checkpoint, Trained, write_checkpoint
from geonp.methods.base import Place
from geonp.methods.neural import Neural, _starts, as_checkpoint
from geonp.models import config_from, create
from geonp.models.base import Gaussian, Model
from geonp.predict import complete
from geonp.scaling import Fixed, Standardise
from geonp.tasks import Task

SMALL = {"channels": 8, "latent": 4, "encoder_layers": 2, "decoder_layers": 2}
QUIET = pytest.mark.filterwarnings("ignore::geonp.errors.GeonpWarning")


class Told(Model):
    """Says mean 2 and deviation 3 of every pixel, in scaled units, or the row of the canvas as the mean."""

    name = "told"

    def __init__(self, bands: int = 1, rows: bool = False) -> None:
        super().__init__()
        self.count = bands
        self.rows = rows
        self.nothing = nn.Parameter(torch.zeros(1))
        self.shapes: list[tuple[int, ...]] = []
        self.spacings: list[list[float]] = []

    @property
    def bands(self) -> int:
        return self.count

    @property
    def receptive_field(self) -> None:
        return None

    def forward(self, task: Task) -> Gaussian:
        self.shapes.append(tuple(task.values.shape))
        self.spacings += task.spacing.tolist()
        mean = torch.full_like(task.values, 2.0)
        if self.rows:
            mean = torch.arange(task.values.shape[2]).float()[:, None].expand_as(task.values)
        return Gaussian(mean, torch.full_like(mean, 3.0))

    def loss(self, task: Task, generator: torch.Generator | None = None) -> Tensor:
        raise NotImplementedError


def trained(tile: tuple[int, int] = (8, 8), **changes: object) -> Trained:
    return replace(Trained((0.125, 0.125), tile, (90.0, 90.0), (90.0, 90.0)), **changes)


def neural(name: str = "ifanp", tile: tuple[int, int] = (8, 8), bands: int = 1) -> Neural:
    model = create(name, config_from(name, {"bands": bands, **SMALL}), seed=3)
    return Neural(model, Standardise(), trained(tile), device="cpu")


def field(values: np.ndarray, pixel: float = 90.0, crs: str | None = "EPSG:32616") -> xr.DataArray:
    box = GeoBox(values.shape[-2:], Affine(pixel, 0, 500_000, 0, -pixel, 4_000_000), crs)
    bands = values.reshape(-1, *values.shape[-2:])
    return as_field(xr.concat([wrap_xr(band, box) for band in bands], "band"))


def sparse(*shape: int, share: float = 0.125, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    values = 300 + 20 * np.sin(y / 5) + 10 * np.cos(x / 7) + rng.normal(size=shape)
    return np.where(rng.random(shape) < share, values, np.nan).astype("f4")


@QUIET
@pytest.mark.parametrize("shape", [(21, 30), (8, 8), (5, 40), (9, 3), (17, 16)])
@pytest.mark.parametrize("tile", [(8, 8), (6, 12), (7, 7)])
def test_windows_leave_no_trace(shape: tuple[int, int], tile: tuple[int, int]) -> None:
    method = neural(tile=tile).prepare(field(sparse(*shape)))
    values = sparse(1, *shape)
    whole = method.complete(values, (90.0, 90.0), Place.whole(shape))
    for wanted in (Window(0, 0, 3, 3), Window(1, 0, 4, 2), Window(0, 1, 5, 2), Window(4, 2, 1, 1)):
        given = wanted.grow(method.halo, shape)
        place = Place(shape, given, wanted)
        part = method.complete(values[:, *given.within(Window.whole(shape))], (90.0, 90.0), place)
        inside = (slice(None), *wanted.within(Window.whole(shape)))
        np.testing.assert_allclose(part.mean, whole.mean[inside], rtol=1e-5)
        np.testing.assert_allclose(part.variance, whole.variance[inside], rtol=1e-4)


@QUIET
@pytest.mark.parametrize("tile", [7, 16, 1000])
def test_a_streamed_raster_is_the_whole_one(tile: int) -> None:
    survey = field(sparse(2, 40, 31))
    once, streamed = (complete(survey, neural(), tile=t) for t in (1024, tile))
    np.testing.assert_allclose(streamed["mean"], once["mean"], rtol=1e-5)
    np.testing.assert_allclose(streamed["variance"], once["variance"], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("length", [1, 5, 8, 9, 20, 33])
@pytest.mark.parametrize("canvas", [1, 4, 5, 8])
def test_canvases_cover_every_pixel_and_stay_inside(length: int, canvas: int) -> None:
    canvas = min(canvas, length)
    starts = _starts(length, canvas, 0, length)
    covered = {p for s in starts for p in range(s, s + canvas)}
    assert covered == set(range(length))
    assert len(set(starts)) == len(starts)
    for first in range(length):
        assert _starts(length, canvas, first, first + 1) == [s for s in starts if s <= first < s + canvas]


def test_every_canvas_is_scaled_by_its_own_observations() -> None:
    values = sparse(1, 8, 8, share=0.5)
    seen = values[np.isfinite(values)].astype(float)
    done = Neural(Told(), Standardise(), trained(), device="cpu").complete(
        values, (1, 1), Place.whole((8, 8))
    )
    np.testing.assert_allclose(done.mean, seen.mean() + 2 * seen.std(), rtol=1e-5)
    np.testing.assert_allclose(done.variance, (3 * seen.std()) ** 2, rtol=1e-4)


def test_a_canvas_of_two_observations_is_scaled_by_the_raster() -> None:
    values = np.full((1, 8, 24), np.nan, "f4")
    values[0, :, :8] = sparse(8, 8, share=1.0)
    values[0, 2, 20], values[0, 5, 22] = 400, 402
    seen = values[np.isfinite(values)].astype(float)
    method = Neural(Told(), Standardise(), trained(context=(0.3, 0.5)), device="cpu").prepare(field(values))
    done = method.complete(values, (1, 1), Place.whole((8, 24)))
    np.testing.assert_allclose(done.mean[0, :, 20:], seen.mean() + 2 * seen.std(), rtol=1e-5)
    np.testing.assert_allclose(done.variance[0, :, 20:], (3 * seen.std()) ** 2, rtol=1e-4)


def test_equal_observations_do_not_make_a_canvas_certain() -> None:
    values = sparse(1, 8, 24, share=1.0)
    values[0, :, 12:] = 5
    spread = values.astype(float).std()
    method = Neural(Told(), Standardise(), trained(context=(0.5, 1)), device="cpu").prepare(field(values))
    done = method.complete(values, (1, 1), Place.whole((8, 24)))
    np.testing.assert_allclose(done.variance[0, :, 20:], (3e-3 * spread) ** 2, rtol=1e-4)


def test_a_fixed_scaling_is_used_as_it_is() -> None:
    done = Neural(Told(), Fixed((10.0,), (5.0,)), trained(), device="cpu").complete(
        np.full((2, 8, 8), np.nan, "f4"), (1, 1), Place.whole((8, 8))
    )
    np.testing.assert_allclose(done.mean, 20)
    np.testing.assert_allclose(done.variance, 225)


def test_disagreement_between_canvases_adds_to_the_variance() -> None:
    """Two canvases, half a canvas apart: means and variances written out."""
    values = np.full((1, 12, 8), np.nan, "f4")
    method = Neural(Told(rows=True), Fixed((0.0,), (1.0,)), trained(), device="cpu")
    done = method.complete(values, (1, 1), Place.whole((12, 8)))
    for row in range(12):
        told = [(row - s, np.sin(np.pi * (row - s + 0.5) / 8) ** 2) for s in (0, 4) if 0 <= row - s < 8]
        total = sum(w for _, w in told)
        mean = sum(w * m for m, w in told) / total
        spread = sum(w * (m - mean) ** 2 for m, w in told) / total
        np.testing.assert_allclose(done.mean[0, row], mean, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(done.variance[0, row], 9 + spread, rtol=1e-6)


def test_completing_an_affine_image_of_a_field_gives_that_image_of_its_completion() -> None:
    values = sparse(1, 20, 20)
    one, other = (
        neural().prepare(field(v)).complete(v, (1, 1), Place.whole((20, 20)))
        for v in (values, 3 * values - 70)
    )
    np.testing.assert_allclose(other.mean, 3 * one.mean - 70, rtol=1e-4)
    np.testing.assert_allclose(other.variance, 9 * one.variance, rtol=1e-3)


def test_a_network_of_one_band_takes_bands_one_by_one() -> None:
    values = np.stack([sparse(20, 12, seed=s) for s in (1, 2, 3)])
    method = neural()
    assert not method.joint
    together = method.prepare(field(values)).complete(values, (1, 1), Place.whole((20, 12)))
    for band in range(3):
        alone = method.prepare(field(values[band])).complete(
            values[band : band + 1], (1, 1), Place.whole((20, 12))
        )
        np.testing.assert_allclose(together.mean[band], alone.mean[0], rtol=1e-5)
        np.testing.assert_allclose(together.variance[band], alone.variance[0], rtol=1e-3)


def test_a_network_of_three_bands_takes_them_together() -> None:
    values = np.stack([sparse(20, 12, seed=1) + shift for shift in (0, 5, 9)])
    method = neural(bands=3).prepare(field(values))
    assert method.joint
    done = method.complete(values, (1, 1), Place.whole((20, 12)))
    moved = values.copy()
    moved[2] += np.arange(12)
    other = method.complete(moved, (1, 1), Place.whole((20, 12)))
    assert done.mean.shape == (3, 20, 12)
    assert np.abs(other.mean[0] - done.mean[0]).max() > 1e-4


def test_another_number_of_bands_is_an_error_that_names_both() -> None:
    with pytest.raises(ModelError, match="completes 3 bands together and the raster has 2; choose bands"):
        neural(bands=3).prepare(field(sparse(2, 12, 12)))


def test_bands_of_a_fixed_scaling_must_be_those_of_the_network() -> None:
    with pytest.raises(ModelError, match="scaling has 2 bands and the network 3"):
        Neural(Told(3), Fixed((0.0, 0.0), (1.0, 1.0)), trained(), device="cpu")


@pytest.mark.parametrize("pixel", [20.0, 300.0])
def test_another_pixel_size_is_a_warning_with_both_figures(pixel: float) -> None:
    with pytest.warns(GeonpWarning, match=rf"measure {pixel:g} x {pixel:g} m, .* trained on 90 m"):
        neural().prepare(field(sparse(20, 20), pixel))


@pytest.mark.parametrize("share", [0.02, 0.6])
def test_another_density_is_a_warning_with_both_figures(share: float) -> None:
    values = sparse(40, 40, share=share)
    with pytest.warns(GeonpWarning, match=rf"{np.isfinite(values).mean():.3g} of the raster.*0.125 of those"):
        neural().prepare(field(values))


@pytest.mark.filterwarnings("error::geonp.errors.GeonpWarning")
def test_a_raster_like_the_training_tiles_is_no_warning() -> None:
    neural().prepare(field(sparse(40, 40), 110.0))
    neural().prepare(field(sparse(40, 40), 1e6, crs=None))
    Neural(Told(), Standardise(), trained(spacing=None, spacing_range=None)).prepare(
        field(sparse(40, 40), 5.0)
    )
    wide = trained(spacing_range=(10.0, 1000.0), context=(0.02, 0.6))
    Neural(Told(), Standardise(), wide).prepare(field(sparse(40, 40, share=0.55), 12.0))


def test_the_network_is_told_the_pixel_size_and_one_canvas_of_a_small_raster() -> None:
    told = Told()
    Neural(told, Standardise(), trained(), device="cpu").complete(
        sparse(2, 5, 20), (30.0, 20.0), Place.whole((5, 20))
    )
    assert {shape[1:] for shape in told.shapes} == {(1, 5, 8)}
    assert sum(shape[0] for shape in told.shapes) == 2 * 4
    assert set(map(tuple, told.spacings)) == {(30.0, 20.0)}


def test_a_model_file_is_a_method_that_gives_the_same(tmp_path: Path) -> None:
    method = neural()
    write_checkpoint(tmp_path / "m", as_checkpoint(method.model, method.scaling, method.trained))
    again = Neural.load(tmp_path / "m", device="cpu")
    values = sparse(1, 20, 12)
    one, other = (m.complete(values, (1, 1), Place.whole((20, 12))) for m in (method, again))
    np.testing.assert_array_equal(one.mean, other.mean)
    np.testing.assert_array_equal(one.variance, other.variance)
    told = again.describe()
    assert told["method"] == "neural"
    assert told["model"] == "ifanp"
    assert len(told["model_sha256"]) == 64
    assert told["context"] == "0.125:0.125"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "unet"}, "this version knows"),
        ({"config": {"bands": 10**12}}, "bands is 1000000000000"),
        ({"config": {"channels": 4096, "latent": 4096}}, "is missing"),
        ({"config": {"depth": 3}}, "no setting 'depth'"),
        ({"scaling": "{}"}, "does not describe a scaling"),
        ({"tensors": {}}, "is missing"),
    ],
)
def test_a_file_that_does_not_fit_its_settings_is_refused(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    method = neural()
    made: Checkpoint = as_checkpoint(method.model, method.scaling, method.trained)
    write_checkpoint(tmp_path / "m", replace(made, **changes))
    with pytest.raises(ModelError, match=message) as caught:
        Neural.load(tmp_path / "m")
    assert str(caught.value).startswith(str(tmp_path / "m"))
    assert "\n" not in str(caught.value)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(UsageError, match="no device 'abacus'"):
        Neural(Told(), Standardise(), trained(), device="abacus")


def test_extremes_stay_finite() -> None:
    for values in (
        np.full((1, 20, 12), np.nan, "f4"),
        np.where(np.isfinite(sparse(1, 20, 12)), np.float32(7), np.float32(np.nan)),
        sparse(1, 20, 12) * np.float32(1e15),
        sparse(1, 20, 12, share=1.0),
    ):
        done = neural().complete(values, (1, 1), Place.whole((20, 12)))
        assert np.isfinite(done.mean).all()
        assert np.isfinite(done.variance).all()
        assert (done.variance >= 0).all()
