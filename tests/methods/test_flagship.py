"""The bundled method: kriging before training, exact at the data, seamless, honest where it would lose."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from time import process_time

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from geonp.errors import GeonpWarning, ModelError
from geonp.field import as_field
from geonp.io.checkpoint import Checkpoint, Trained, write_checkpoint
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.features import Kriged
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block
from geonp.methods.calibration import UNCALIBRATED
from geonp.methods.correction import Correction
from geonp.methods.flagship import Flagship
from geonp.methods.kriging import Kriging
from geonp.methods.trial import Trial, Verdict, hidden, standard_error
from geonp.models import create, weights
from geonp.models.base import Model
from geonp.models.kriged import KrigedConfig, KrigedIFANP
from geonp.predict import complete
from geonp.scaling import Standardise, dumps
from geonp.synthetic import spectral

SMALL = KrigedConfig(width=8, levels=2, code_window=3, attention_window=3)
Field = NDArray[np.float64]


def network(noise: float = 0.0, seed: int = 1) -> KrigedIFANP:
    """An untrained network, or one whose every weight does something."""
    model = create("kriged-ifanp", SMALL, seed)
    assert isinstance(model, KrigedIFANP)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(seed)
        for p in model.parameters():
            p.add_(noise * torch.randn(p.shape, generator=generator))
    return model.eval()


def saved(model: Model, path: Path) -> str:
    kept = Checkpoint(
        model.name,
        asdict(model.config),
        dumps(Standardise()),
        None,
        Trained((0.1, 0.2), (64, 64)),
        weights(model),
    )
    write_checkpoint(path, kept)
    return str(path)


@pytest.fixture
def untrained(tmp_path: Path) -> str:
    return saved(network(), tmp_path / "untrained.safetensors")


@pytest.fixture
def busy(tmp_path: Path) -> str:
    return saved(network(0.1), tmp_path / "busy.safetensors")


def truth(rows: int, cols: int, seed: int = 0) -> Field:
    rng = np.random.default_rng(seed)
    field = spectral(max(rows, cols), lambda k2: (0.02 + k2) ** -1.25, rng)
    return 500 + 40 * field[:rows, :cols]


def survey(values: Field, share: float = 0.15, seed: int = 0) -> xr.DataArray:
    seen = np.random.default_rng(seed).random(values.shape) < share
    rows, cols = values.shape
    coords = {"y": 30.0 * np.arange(rows)[::-1] + 15, "x": 30.0 * np.arange(cols) + 15}
    array = xr.DataArray(np.where(seen, values, np.nan).astype("f4"), dims=("y", "x"), coords=coords)
    return as_field(array.odc.assign_crs("EPSG:32633"))


def test_untrained_is_kriging(untrained: str) -> None:
    field = survey(truth(48, 40))
    ready = Flagship(model=untrained, calibrate=False, insist=True).prepare(field)
    given = Block(0, 0, field.values[0])
    mean, variance = ready.groups[0].krigings[0].complete(given, Pixels(0, 0, 48, 40))
    done = ready.predict(field)
    holes = np.isnan(field.values[0])
    np.testing.assert_allclose(done["mean"].values[0], mean, rtol=1e-6)
    nugget = ready.groups[0].krigings[0].solver.covariance.nugget
    np.testing.assert_allclose(done["variance"].values[0][holes], (variance + nugget)[holes], rtol=1e-5)


@pytest.mark.parametrize("gap", [0, 40], ids=["scattered", "with a gap"])
def test_windows_leave_no_trace(busy: str, gap: int) -> None:
    """Streamed in windows, the raster is what it is in one piece, though the network reaches across them."""
    field = survey(truth(64, 336), 0.3 if gap else 0.1)
    field.values[:, 12 : 12 + gap, 110 : 110 + gap] = np.nan
    method = Flagship(model=busy, insist=True, orientations=2)
    whole = complete(field, method, tile=512)
    tiled = complete(field, method, tile=128)
    std = np.sqrt(whole["variance"].values) + 1e-6
    assert np.abs((whole["mean"] - tiled["mean"]).values / std).max() < 1e-3
    np.testing.assert_allclose(np.sqrt(tiled["variance"].values) + 1e-6, std, rtol=1e-3)


def test_observed_pixels_are_kept(busy: str) -> None:
    field = survey(truth(40, 48))
    done = complete(field, Flagship(model=busy, insist=True, orientations=1))
    seen = np.isfinite(field.values)
    assert np.array_equal(done["mean"].values[seen], field.values[seen])
    assert (done["variance"].values[seen] == 0).all()
    assert (done["variance"].values[~seen] > 0).all()
    assert np.isfinite(done["mean"].values).all()


def test_same_seed_same_bytes(busy: str) -> None:
    field = survey(truth(40, 40))
    method = Flagship(model=busy, insist=True, orientations=2, seed=3)
    first, second = complete(field, method), complete(field, method)
    assert np.array_equal(first["mean"].values, second["mean"].values)
    assert np.array_equal(first["variance"].values, second["variance"].values)


def test_bands_are_completed_one_by_one(busy: str) -> None:
    one, two = (survey(truth(40, 40, seed), seed=seed) for seed in (0, 1))
    both = xr.concat([one, two], "band")
    method = Flagship(model=busy, insist=True, orientations=1)
    together = complete(both, method)
    for number, alone in enumerate((one, two)):
        np.testing.assert_allclose(
            together["mean"].values[number], complete(alone, method)["mean"].values[0], rtol=1e-6
        )


def test_a_turned_survey_gives_a_turned_answer() -> None:
    """All eight orientations together have no preferred side, on pixels that are not square."""
    rng = np.random.default_rng(0)
    look = Correction(network(0.1), orientations=8)
    observed = torch.from_numpy((rng.random((32, 48)) < 0.2).astype("f4"))[None, None]
    rough = torch.from_numpy(rng.standard_normal((2, 32, 48)).astype("f4"))[:, None, None]
    layers = (
        observed,
        rough[0].cumsum(3),
        0.5 + rough[0].abs(),
        rough[1] * observed,
        observed,
        0.1 * rough[0] * observed,
        torch.ones_like(observed),
    )
    shift, factor = (a[0] for a in look(Kriged(*layers), [0.1], (20.0, 30.0)))
    turned = Kriged(*(a.transpose(2, 3).flip(3) for a in layers))
    shift_turned, factor_turned = (a[0] for a in look(turned, [0.1], (30.0, 20.0)))
    torch.testing.assert_close(shift_turned, shift.T.flip(1), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(factor_turned, factor.T.flip(1), rtol=1e-3, atol=1e-4)
    assert float(shift.abs().max()) > 0.01


def test_far_from_data_kriging_has_the_last_word(busy: str) -> None:
    values = truth(48, 400)
    field = survey(values, 0.2)
    field.values[:, :, 60:] = np.nan
    ready = Flagship(model=busy, calibrate=False, insist=True, orientations=2).prepare(field)
    mean, variance = ready.groups[0].krigings[0].complete(Block(0, 0, field.values[0]), Pixels(0, 0, 48, 400))
    done = ready.predict(field)
    far = np.s_[:, 60 + ready.halo :]
    assert done["mean"].values[0][far].size
    np.testing.assert_allclose(done["mean"].values[0][far], mean[far], rtol=1e-5)
    nugget = ready.groups[0].krigings[0].solver.covariance.nugget
    np.testing.assert_allclose(done["variance"].values[0][far], variance[far] + nugget, rtol=1e-3)


def test_in_gaps_the_covariance_chosen_for_gaps_is_corrected(untrained: str) -> None:
    """With gaps the network stands on the method `kriging`; the untrained one is that method."""
    field = survey(truth(48, 48), 0.4)
    field.values[:, 14:32, 10:36] = np.nan
    holes = np.isnan(field.values)
    kriging = Kriging().prepare(field)
    ready = Flagship(model=untrained, calibrate=False, insist=True).prepare(field)
    assert ready.groups[0].covariances == [kriging.bands[0].solver.covariance]
    ours, theirs = ready.predict(field), kriging.predict(field)
    np.testing.assert_allclose(ours["mean"].values[holes], theirs["mean"].values[holes], rtol=1e-5)
    np.testing.assert_allclose(ours["variance"].values[holes], theirs["variance"].values[holes], rtol=1e-4)


def test_in_gaps_deviations_are_calibrated_by_distance(busy: str) -> None:
    field = survey(truth(48, 64), 0.4)
    field.values[:, 14:34, 10:36] = np.nan
    ready = Flagship(model=busy, insist=True, orientations=1).prepare(field)
    calibration = ready.groups[0].verdict.calibration
    assert len(calibration.factors) > 1
    assert str(calibration) == ready.describe()["band_1_deviation_factor"]
    plain = replace(ready, groups=(replace(ready.groups[0], verdict=Verdict()),))
    ratio = np.sqrt(ready.predict(field)["variance"] / plain.predict(field)["variance"]).values[0]
    holes = np.isnan(field.values[0])
    away = distance_transform_edt(holes)
    np.testing.assert_allclose(ratio[holes], calibration.at(away[holes]), rtol=1e-4)


def test_a_network_that_loses_is_not_used(tmp_path: Path) -> None:
    liar = network()
    with torch.no_grad():
        liar.net.head.bias.fill_(3.0)
    path = saved(liar, tmp_path / "liar.safetensors")
    field = survey(truth(64, 64))
    with pytest.warns(GeonpWarning, match="kriging is used"):
        ready = Flagship(model=path, calibrate=False).prepare(field)
    assert not ready.groups[0].verdict.network
    assert ready.describe()["band_1_answered_by"] == "kriging"
    kriging = Kriging().prepare(field)
    assert ready.halo == kriging.halo
    xr.testing.assert_equal(ready.predict(field), kriging.predict(field))
    insisted = Flagship(model=path, insist=True).prepare(field)
    assert insisted.groups[0].verdict.network


def test_calibration_finds_a_wrong_sill_and_is_shrunk_with_few_data() -> None:
    """Deviations three times too large come down towards a third, the more so the more is observed."""
    values = truth(96, 96)
    look = Correction(network(), orientations=1)

    def factor(size: int, share: float) -> float:
        field = survey(values[:size, :size], share)
        # Sill of the field at 30 m pixels, times nine.
        covariance = Covariance((Structure("matern32", 9 * 1600.0, 300.0),), 1e-2)
        trial = Trial((Solver(covariance),), look, (500.0,), True, True, 0)
        return trial.judge([field.values], (30.0, 30.0)).calibration.factors[0]

    many, few = factor(96, 0.3), factor(20, 0.1)
    assert many < few <= 1.0
    assert many < 0.75


def test_hidden_pixels_follow_the_gaps() -> None:
    rng = np.random.default_rng(0)
    plain = survey(truth(64, 64), 0.15).values[0]
    assert all((h.held & np.isnan(plain)).sum() == 0 for h in hidden(plain, rng))
    holed = survey(truth(64, 64), 0.6).values[0]
    holed[10:54, 16:48] = np.nan
    observed = np.isfinite(holed)

    def clustered(held: NDArray[np.bool_]) -> float:
        """Share of hidden pixels whose observed right neighbour is hidden too."""
        pairs = held[:, :-1] & observed[:, 1:]
        return float((pairs & held[:, 1:]).sum() / max(pairs.sum(), 1))

    assert max(clustered(h.held) for h in hidden(holed, rng)) > 0.5
    assert max(clustered(h.held) for h in hidden(plain, rng)) < 0.4
    assert hidden(np.ones((8, 8), np.float32), rng) == []


def test_judged_are_as_far_from_data_as_what_is_missing() -> None:
    holed = survey(truth(96, 96), 0.6).values[0]
    holed[20:50, 30:70] = np.nan
    observed = np.isfinite(holed)
    laid = [h for h in hidden(holed, np.random.default_rng(0)) if h.group.any()]
    assert laid
    missing = distance_transform_edt(~observed)[20:50, 30:70][~observed[20:50, 30:70]]
    for one in laid:
        assert (one.judged <= one.held).all()
        assert ((one.group > 0) == one.held).all()
        away = distance_transform_edt(~(observed & ~one.held))
        near, judged = away[one.held], away[one.judged]
        assert abs(np.median(judged) - np.median(missing)) <= abs(np.median(near) - np.median(missing)) + 1


def test_errors_of_one_gap_count_once() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=40)
    alone = standard_error(one, np.arange(40))
    assert alone == pytest.approx(one.std() / np.sqrt(40))
    # Every difference ten times over, in a group: nothing more is known.
    assert standard_error(np.repeat(one, 10), np.repeat(np.arange(40), 10)) == pytest.approx(alone)


def test_other_networks_are_refused(tmp_path: Path) -> None:
    path = saved(create("ifnp"), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match="ifnp"):
        Flagship(model=path).prepare(survey(truth(32, 32)))


def test_bands_of_a_joint_network_are_completed_together(tmp_path: Path) -> None:
    """Untrained it is kriging, band by band; trained, one band's answer depends on what the others show."""
    one, two = (survey(truth(40, 40, seed)) for seed in (0, 1))
    both = xr.concat([one, two], "band")
    config = replace(SMALL, bands=2)
    plain, rng = create("kriged-ifanp", config, 0).eval(), torch.Generator().manual_seed(0)
    method = Flagship(model=saved(plain, tmp_path / "plain.safetensors"), insist=True, calibrate=False)
    assert method.joint
    ready = method.prepare(both)
    done = ready.predict(both)
    for band, kriging in enumerate(ready.groups[0].krigings):
        mean, _ = kriging.complete(Block(0, 0, both.values[band]), Pixels(0, 0, 40, 40))
        np.testing.assert_allclose(done["mean"].values[band], mean, rtol=1e-6)
    with torch.no_grad():
        for p in plain.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=rng))
    busy = replace(method, model=saved(plain, tmp_path / "busy.safetensors"), orientations=1)
    changed = both.copy(data=both.values * np.array([1, -3], "f4")[:, None, None])
    before, after = (busy.prepare(f).predict(f)["mean"].values[0] for f in (both, changed))
    assert np.abs(before - after).max() > 1e-2
    with pytest.raises(ModelError, match=r"2 bands together and the raster has 1"):
        method.prepare(one)


def test_adapting_keeps_only_what_wins(untrained: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained network learns terraces that no kriging knows; one that learnt nonsense is not kept."""
    rows, cols = np.indices((96, 96))
    steps = 100.0 * ((rows + cols) // 12 % 2) + np.random.default_rng(0).normal(0, 0.1, (96, 96))
    field = survey(steps, 0.3)
    # Other work on the machine takes nothing from these seconds.
    monkeypatch.setattr("geonp.methods.adapt.monotonic", process_time)
    ready = Flagship(model=untrained, insist=True, orientations=1, adapt=6.0).prepare(field)
    assert ready.adaptation is not None
    assert ready.adaptation.kept
    assert ready.adaptation.after < ready.adaptation.before
    assert "adapted" in ready.describe()

    def spoil(model: KrigedIFANP, *rest: object) -> int:
        with torch.no_grad():
            model.net.head.bias.add_(5.0)
        return 1

    monkeypatch.setattr("geonp.methods.adapt._learn", spoil)
    spoilt = Flagship(model=untrained, insist=True, orientations=1, adapt=1.0).prepare(field)
    assert spoilt.adaptation is not None
    assert not spoilt.adaptation.kept
    plain = Flagship(model=untrained, insist=True, orientations=1).prepare(field)
    xr.testing.assert_equal(spoilt.predict(field), plain.predict(field))


def test_uncalibrated_deviations_are_the_networks_own(busy: str) -> None:
    field = survey(truth(48, 48))
    ready = Flagship(model=busy, insist=True, orientations=1, calibrate=False).prepare(field)
    assert ready.groups[0].verdict.calibration == UNCALIBRATED
