"""Networks that correct kriging and read covariates: widened, trained, kept, used, and asked for by name."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from click.testing import CliRunner
from geonp.cli import main
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import gaussian_filter

from geonp.errors import GeonpWarning, ModelError, UsageError
from geonp.field import as_field
from geonp.fitting import Fitting, Recipe, fit
from geonp.io.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from geonp.kriging.features import Kriged
from geonp.methods.choose import load
from geonp.methods.correction import Correction
from geonp.methods.covaried import with_covariates
from geonp.methods.flagship import BUNDLED, Flagship, read_network
from geonp.methods.neural import as_checkpoint
from geonp.models.kriged import KrigedConfig, KrigedIFANP, widened
from geonp.predict import complete
from geonp.scaling import loads
from geonp.training import Options

SMALL = {"width": 16, "levels": 3, "code_window": 3, "attention_window": 0}
RECIPE = Recipe("kriged-ifanp", SMALL, "0.2", tile=32, batch=8)


def on_grid(values: np.ndarray, spacing: float = 30.0) -> xr.DataArray:
    box = GeoBox(values.shape, Affine(spacing, 0, 500_000, 0, -spacing, 4_000_000), "EPSG:32616")
    return as_field(wrap_xr(values.astype("f4"), box))


def pair(seed: int, size: int = 64) -> tuple[xr.DataArray, xr.DataArray]:
    """Return a field and the covariate that tells nearly all of it, in a way that no regression finds."""
    rng = np.random.default_rng(seed)
    rough, smooth = (gaussian_filter(rng.standard_normal((size, size)), w) for w in (1.5, 10.0))
    rough, smooth = rough / rough.std(), smooth / smooth.std()
    return on_grid(2 * np.abs(rough) + 0.3 * smooth), on_grid(300 + 50 * rough)


def survey(field: xr.DataArray, share: float = 0.2, seed: int = 0) -> tuple[xr.DataArray, np.ndarray]:
    seen = np.random.default_rng(seed).random(field.shape[1:]) < share
    return field.copy(data=np.where(seen, field.values, np.float32(np.nan))), ~seen


def quick(path: Path) -> Flagship:
    method = load(path)
    assert isinstance(method, Flagship)
    return replace(method, orientations=1)


def rmse(done: xr.Dataset, truth: xr.DataArray, hidden: np.ndarray) -> float:
    return float(np.sqrt(np.mean((done["mean"].values - truth.values)[0][hidden] ** 2)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "reading.safetensors"
    pairs = [pair(seed) for seed in range(4)]
    options = Options(epochs=1, steps_per_epoch=120, device="cpu", learning_rate=4e-3)
    fields, covariates = [f for f, _ in pairs], [[c.rename("roughness")] for _, c in pairs]
    method = fit(fields, path, recipe=RECIPE, options=options, covariates=covariates)
    assert isinstance(method, Flagship)
    return path


def stored(path: Path, names: tuple[str, ...], bundled: bool = True) -> Path:
    """Write a widened network that nobody trained."""
    model = read_network() if bundled else KrigedIFANP(KrigedConfig(**SMALL))
    kept = read_checkpoint(BUNDLED)
    told = replace(kept.trained, covariates=names)
    write_checkpoint(path, as_checkpoint(widened(model, len(names)), loads(kept.scaling), told))
    return path


def test_a_relation_that_regression_cannot_find_is_learnt(trained: Path) -> None:
    field, covariate = pair(9)
    given, hidden = survey(field)
    with pytest.warns(GeonpWarning, match="is read by the network, and left out of the regression"):
        done = complete(given, with_covariates(quick(trained), covariate))
    plain = complete(given, Flagship(device="cpu", orientations=1))
    assert rmse(done, field, hidden) < 0.7 * rmse(plain, field, hidden)
    inside = np.abs(done["mean"].values - field.values) < 1.645 * np.sqrt(done["variance"].values)
    assert inside[0][hidden].mean() == pytest.approx(0.9, abs=0.07)
    same = with_covariates(quick(trained), covariate, "never")
    xr.testing.assert_allclose(complete(given, same, tile=37)["mean"], done["mean"], atol=1e-2)


def test_the_file_keeps_names_and_scales(trained: Path) -> None:
    kept = read_checkpoint(trained)
    assert kept.trained.covariates == ("roughness",)
    assert kept.config["covariates"] == 1
    assert kept.tensors["beside.offset"][0] == pytest.approx(300, abs=10)
    assert kept.tensors["beside.spread"][0] == pytest.approx(50, rel=0.2)
    assert kept.digest == _written_digest(trained)


def test_files_of_before_keep_their_identity() -> None:
    kept = read_checkpoint(BUNDLED)
    assert "covariates" not in json.loads(json.dumps(dict(kept.config))) or kept.config["covariates"] == 0
    assert kept.trained.covariates == ()
    assert kept.digest == _written_digest(BUNDLED)


def _written_digest(path: Path) -> str:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return str(json.loads(content[8 : 8 + length])["__metadata__"]["sha256"])


def test_widened_the_bundled_network_answers_as_before(tmp_path: Path) -> None:
    """Whatever the covariates are; regression is another matter, and is asked not to be made."""
    path = stored(tmp_path / "wide.safetensors", ("one", "other"))
    field, covariate = pair(5, 48)
    given, _ = survey(field)
    rasters = (covariate, on_grid(np.random.default_rng(1).normal(size=(48, 48))))
    bundled = Flagship(insist=True, device="cpu", orientations=2)
    wide = replace(bundled, model=str(path))
    before, after = complete(given, bundled), complete(given, with_covariates(wide, rasters, "never"))
    np.testing.assert_array_equal(before["mean"], after["mean"])
    np.testing.assert_array_equal(before["variance"], after["variance"])


def test_widened_with_regression_it_is_the_bundled_one_with_regression(tmp_path: Path) -> None:
    path = stored(tmp_path / "wide.safetensors", ("one",))
    rng = np.random.default_rng(4)
    told = gaussian_filter(rng.standard_normal((48, 48)), 1.5)
    field = on_grid(40 * told + gaussian_filter(rng.standard_normal((48, 48)), 6))
    given, _ = survey(field)
    bundled = Flagship(insist=True, device="cpu", orientations=1)
    before, after = (
        complete(given, with_covariates(m, on_grid(told), "always"))
        for m in (bundled, replace(bundled, model=str(path)))
    )
    np.testing.assert_array_equal(before["mean"], after["mean"])


def test_fitting_starts_from_the_bundled_network(tmp_path: Path) -> None:
    field, covariate = pair(0)
    options = Options(epochs=1, steps_per_epoch=1, device="cpu")
    fitting = Fitting([field], RECIPE, options, "bundled", [[covariate, covariate]], ["dem", "slope"])
    assert isinstance(fitting.model, KrigedIFANP)
    assert fitting.model.config == replace(read_network().config, covariates=2)
    narrow = read_network().state_dict()
    assert all(torch.equal(value, fitting.model.state_dict()[key]) for key, value in narrow.items())
    torch.testing.assert_close(fitting.model.beside.offset, torch.full((2,), 300.0), rtol=0.05, atol=0)
    checkpoint: Checkpoint = fitting.checkpoint()
    assert checkpoint.trained.covariates == ("dem", "slope")
    # Going on from there keeps the scales that its weights know.
    path = tmp_path / "half.safetensors"
    write_checkpoint(path, checkpoint)
    far = [[covariate + 100, covariate]]
    again = Fitting([field], RECIPE, options, path, far)
    assert torch.equal(again.model.beside.offset, fitting.model.beside.offset)
    with pytest.raises(ModelError, match=r"reads 2 covariate\(s\), and 1 are given"):
        Fitting([field], RECIPE, options, path, [[covariate]])
    with pytest.raises(UsageError, match="there are 1 names for 2 covariates; give one for each"):
        Fitting([field], RECIPE, options, "bundled", [[covariate, covariate]], ["dem"])


def test_covariates_are_asked_for_by_name(tmp_path: Path) -> None:
    path = stored(tmp_path / "wide.safetensors", ("dem", "slope"), bundled=False)
    field, covariate = pair(5, 48)
    given, _ = survey(field)
    with pytest.raises(ModelError, match=r"trained with 2 covariate\(s\): dem, slope; 0 are given"):
        complete(given, load(path))
    with pytest.raises(
        ModelError, match="dem, slope; 1 are given: give rasters of these things, in this order"
    ):
        complete(given, with_covariates(load(path), covariate, "never"))
    with pytest.raises(UsageError, match="does not learn from the survey: leave out --adapt"):
        complete(given, with_covariates(replace(load(path), adapt=1.0), (covariate, covariate), "never"))


def test_pixels_without_covariates_are_completed_too(trained: Path) -> None:
    rng = np.random.default_rng(3)
    told = gaussian_filter(rng.standard_normal((48, 48)), 1.5)
    field = on_grid(40 * told + gaussian_filter(rng.standard_normal((48, 48)), 6))
    given, hidden = survey(field)
    holey = told.copy()
    holey[:, :15] = np.nan
    for policy in ("always", "never"):
        with pytest.warns(GeonpWarning, match="is not known at 31"):
            done = complete(given, with_covariates(quick(trained), on_grid(holey), policy))
        assert np.isfinite(done["mean"]).all()
        assert np.isfinite(done["variance"]).all()
        assert rmse(done, field, hidden) < field.values[0][hidden].std()


def test_turned_canvases_have_turned_covariates() -> None:
    """Looked at from all sides, a turned and mirrored survey gets the turned and mirrored answer."""
    torch.manual_seed(0)
    model = KrigedIFANP(KrigedConfig(**(SMALL | {"covariates": 1}))).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    look = Correction(model, orientations=8)
    observed = (torch.rand(1, 1, 32, 48) < 0.2).float()

    def image() -> torch.Tensor:
        return torch.randn(1, 1, 32, 48)

    kriged = Kriged(
        observed, image(), image().exp(), image() * observed, observed, 0.1 * image(), observed * 0 + 1
    )
    beside = torch.cat([image(), image()], 1)
    shift, factor = look(kriged, [0.1], (30.0, 20.0), beside)
    blind, _ = look(kriged, [0.1], (30.0, 20.0), torch.full_like(beside, torch.nan))
    assert not torch.allclose(shift, blind, atol=1e-3)

    def turned(a: torch.Tensor) -> torch.Tensor:
        return a.transpose(-2, -1).flip(-1)

    other, wider = look(Kriged(*(turned(a) for a in kriged)), [0.1], (20.0, 30.0), turned(beside))
    torch.testing.assert_close(other, turned(shift), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(wider, turned(factor), rtol=1e-3, atol=1e-3)


def test_from_the_shell(tmp_path: Path) -> None:
    for seed in range(2):
        for suffix, raster in zip(("", "_dem"), pair(seed, 48), strict=True):
            raster.odc.write_cog(tmp_path / f"t{seed}{suffix}.tif")
    given, _ = survey(pair(9, 48)[0])
    given.odc.write_cog(tmp_path / "survey.tif")
    pair(9, 48)[1].odc.write_cog(tmp_path / "elsewhere.tif")
    model, tiles = tmp_path / "m.safetensors", [str(tmp_path / f"t{seed}.tif") for seed in range(2)]
    small = [f"--set={key}={value}" for key, value in SMALL.items()]
    brief = ["--epochs", "1", "--steps-per-epoch", "2", "--tile-size", "16", "--no-compare", "-q"]
    typed = [*tiles, "--covariate", "dem", "--model", "kriged-ifanp", *small, *brief, "--context", "0.3"]
    done = CliRunner().invoke(main, ["fit", *typed, "-o", str(model), "--device", "cpu"])
    assert done.exit_code == 0, done.output
    assert read_checkpoint(model).trained.covariates == ("dem",)
    answer = ["predict", str(tmp_path / "survey.tif"), "--model", str(model), "-q"]
    out = ["-o", str(tmp_path / "mean.tif"), str(tmp_path / "var.tif")]
    told = CliRunner().invoke(main, [*answer, *out, "--covariate", str(tmp_path / "elsewhere.tif")])
    assert told.exit_code == 0, told.output
    assert (tmp_path / "mean.tif").exists()
    missing = CliRunner().invoke(main, [*answer, "-o", str(tmp_path / "a.tif"), str(tmp_path / "b.tif")])
    assert missing.exit_code == 1
    assert "trained with 1 covariate(s): dem; 0 are given" in missing.output
    assert not (tmp_path / "a.tif").exists()
