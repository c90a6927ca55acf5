"""Conditional simulation: against kriging of each field alone, and against theory to Monte Carlo error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from geonp.errors import UsageError
from geonp.kriging.board import Pixels
from geonp.kriging.circulant import Circulant
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.raster import RasterKriging
from geonp.kriging.several import Several
from geonp.kriging.simulate import Simulator
from geonp.kriging.solver import Solver
from geonp.kriging.spectral import WAVES, Spectral
from geonp.kriging.survey import Block, Survey

STEP = (-10.0, 8.0)
FAMILIES = [
    ("exponential", {}),
    ("matern32", {}),
    ("matern52", {}),
    ("matern", {"nu": 1.2}),
    ("gaussian", {}),
    ("spherical", {}),
]


def nested(nugget: float = 0.3) -> Covariance:
    return Covariance(
        (Structure("matern32", 3.0, 60.0, angle=30, ratio=0.5), Structure("exponential", 1.0, 25.0)), nugget
    )


def truth(covariance: Covariance, lags: np.ndarray) -> np.ndarray:
    """Covariance (N,) at lags (N, 2) in pixels."""
    there = lags * np.array(STEP)
    return covariance(there, np.zeros((1, 2)))[:, 0]


def survey_of(
    values: np.ndarray, covariance: Covariance, limit: int = 1 << 20, **how: object
) -> RasterKriging:
    survey = Survey.of([Block(0, 0, values)], limit)
    return RasterKriging(values.shape, STEP, survey, Solver(covariance, **how))  # type: ignore[arg-type]


def sparse(shape: tuple[int, int], share: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = np.cumsum(np.cumsum(rng.standard_normal(shape), 0), 1) / 30 + 100
    return np.where(rng.random(shape) < share, values, np.nan).astype(np.float32)


def lags_of(shape: tuple[int, int]) -> np.ndarray:
    grid = np.meshgrid(np.arange(shape[0]), np.arange(shape[1]), indexing="ij")
    return np.stack(grid, -1).reshape(-1, 2).astype(float)


@pytest.mark.parametrize(("family", "more"), FAMILIES)
def test_the_embedding_has_the_covariance_exactly(family: str, more: dict[str, float]) -> None:
    covariance = Covariance((Structure(family, 4.0, 60.0, angle=30, ratio=0.5, **more),), 0.7)
    made = Circulant.of(covariance, (20, 26), STEP)
    assert made is not None
    assert made.lost < 1e-5
    # The covariance of the fields is the transform of the eigenvalues: no drawing needed.
    torus = np.fft.fft2(made.roots.astype(float) ** 2).real[:20, :26].ravel()
    np.testing.assert_allclose(torus, truth(covariance, lags_of((20, 26))), atol=4e-3)


@pytest.mark.parametrize(("family", "more"), FAMILIES)
def test_waves_follow_the_spectrum(family: str, more: dict[str, float]) -> None:
    covariance = Covariance((Structure(family, 4.0, 60.0, angle=30, ratio=0.5, **more),), 0.7)
    lags = lags_of((12, 12))
    total = np.zeros(len(lags))
    for seed in range(20):
        wave = Spectral.draw(covariance, STEP, np.random.default_rng(seed))
        # Averaged over phases, a sum of waves has the covariance sum a^2/2 cos(w.h).
        total += (wave.amplitudes**2 / 2 * np.cos(lags @ wave.frequencies.T)).sum(1) / 20
    # Each of the 20 x WAVES frequencies is one draw of cos, of variance at most one half.
    np.testing.assert_allclose(total, truth(covariance, lags), atol=4 * 4 * math.sqrt(0.5 / (20 * WAVES)))


def test_waves_are_one_field_far_away_too() -> None:
    wave = Spectral.draw(nested(), STEP, np.random.default_rng(3))
    whole = wave.window(1_000_000, 3_000_000, 40, 50)
    np.testing.assert_allclose(wave.window(1_000_011, 3_000_007, 9, 21), whole[11:20, 7:28], atol=1e-4)
    place = np.array([1_000_005, 3_000_006])
    by_hand = (wave.amplitudes * np.cos(wave.frequencies @ place + wave.phases)).sum()
    assert whole[5, 6] == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize("kind", ["ordinary", "universal", "simple"])
@pytest.mark.parametrize(
    ("shape", "share", "limit", "gap"),
    [((30, 34), 0.1, 1 << 20, False), ((150, 140), 0.2, 1 << 20, True), ((150, 140), 0.2, 2000, True)],
    ids=["exact", "tiles and gap", "thinned"],
)
def test_several_fields_come_out_as_each_alone(
    kind: str, shape: tuple[int, int], share: float, limit: int, gap: bool
) -> None:
    values = sparse(shape, share)
    if gap:
        values[40:110, 50:120] = np.nan
    kriging = survey_of(values, nested(), limit, kind=kind, mean=99.0)
    rng = np.random.default_rng(1)
    layers = np.stack([values, values + rng.standard_normal(shape).astype(np.float32), 3 - values])
    wanted = Pixels(9, 5, shape[0] - 14, shape[1] - 11)
    rows, cols = kriging.survey.rows, kriging.survey.cols
    given = Block(0, 0, values)
    means, variance = Several.of(kriging).complete_all(
        given, layers, lambda: layers[:, rows, cols].astype(float), wanted
    )
    holes = np.isnan(values[wanted.within(0, 0)])
    for layer, mean in zip(layers, means, strict=True):
        alone = survey_of(layer, nested(), limit, kind=kind, mean=99.0)
        expected, spread = alone.complete(Block(0, 0, layer), wanted)
        np.testing.assert_allclose(mean[holes], expected[holes], atol=2e-5)
        np.testing.assert_allclose(variance[holes], spread[holes], atol=1e-9)


@pytest.mark.parametrize("embedded", [True, False], ids=["circulant", "waves"])
@pytest.mark.parametrize("noise", [True, False], ids=["observable", "latent"])
def test_realisations_have_krigings_mean_variance_and_covariance(embedded: bool, noise: bool) -> None:
    values, covariance = sparse((18, 20), 0.12), nested()
    n = 600 if embedded else 200  # waves are slower to draw
    kriging = survey_of(values, covariance)
    given, wanted = Block(0, 0, values), Pixels(0, 0, 18, 20)
    simulator = Simulator.of(kriging, seed=5, noise=noise, memory=1 << 30 if embedded else 0)
    assert (simulator.embedding is not None) == embedded
    done = simulator.draw(range(n)).condition(given, wanted)
    known = np.isfinite(values)
    np.testing.assert_array_equal(done.values[:, known], np.broadcast_to(values[known], (n, known.sum())))

    mean, variance = kriging.complete(given, wanted)
    variance = np.where(known, 0, variance + noise * covariance.nugget)
    np.testing.assert_allclose(done.mean, mean, atol=1e-4)
    np.testing.assert_allclose(done.variance, variance, atol=1e-9)
    free, spread = ~known, np.sqrt(variance[~known])
    score = (done.values.mean(0)[free] - mean[free]) / spread * math.sqrt(n)
    assert abs(score).max() < 4.8
    assert np.sqrt((score**2).mean()) == pytest.approx(1, abs=0.35)
    ratio = done.values.var(0)[free] / variance[free]
    assert abs(ratio - 1).max() < 5 * math.sqrt(2 / n)
    assert ratio.mean() == pytest.approx(1, abs=1.2 * math.sqrt(2 / n))

    # The covariance of the errors: C - C k^-1 C' with the mean's share, by plain linear algebra.
    places = lags_of((18, 20)) * np.array(STEP)
    c = covariance(places, places)
    seen = known.ravel()
    a = np.block(
        [
            [c[np.ix_(seen, seen)] + covariance.nugget * np.eye(seen.sum()), np.ones((seen.sum(), 1))],
            [np.ones((1, seen.sum())), np.zeros((1, 1))],
        ]
    )
    b = np.vstack([c[np.ix_(seen, ~seen)], np.ones((1, (~seen).sum()))])
    theory = c[np.ix_(~seen, ~seen)] - b.T @ np.linalg.solve(a, b)
    theory += noise * covariance.nugget * np.eye(len(theory))
    errors = done.values[:, free] - mean[free]
    found = errors.T @ errors / n
    sigma = np.sqrt((theory**2 + np.outer(theory.diagonal(), theory.diagonal())) / n)
    assert np.sqrt((((found - theory) / sigma) ** 2).mean()) == pytest.approx(1, abs=0.15)


def test_the_variogram_of_unconditional_fields_is_the_covariances() -> None:
    values = np.full((64, 64), np.nan, np.float32)
    values[0, 0] = 0.0
    covariance = nested(0.5)
    for memory in (1 << 30, 0):
        simulator = Simulator.of(survey_of(values, covariance), seed=1, memory=memory)
        draw = simulator.draw(range(100))
        pixels = Pixels(0, 0, 64, 64)
        fields = draw.fields(pixels) + draw.noise(pixels)
        for lag in ((0, 1), (0, 4), (3, 0), (2, -3), (8, 8)):
            moved = np.roll(fields, (-lag[0], -lag[1]), (1, 2))[:, :50, 10:50]
            each = ((moved - fields[:, :50, 10:50]) ** 2 / 2).mean((1, 2))
            expected = covariance.total_sill - truth(covariance, np.array([lag], float))[0]
            assert abs(each.mean() - expected) < 4.5 * each.std() / 10


@pytest.mark.parametrize("embedded", [True, False], ids=["circulant", "waves"])
def test_windows_show_one_realisation(embedded: bool) -> None:
    values = sparse((150, 140), 0.2)
    values[40:110, 50:120] = np.nan
    kriging = survey_of(values, nested())
    simulator = Simulator.of(kriging, seed=2, memory=1 << 30 if embedded else 0)
    whole = simulator.draw([0, 3]).condition(Block(0, 0, values), Pixels(0, 0, 150, 140))
    for place in (Pixels(20, 30, 50, 40), Pixels(90, 100, 60, 40)):
        halo = kriging.halo
        top, left = max(place.row - halo, 0), max(place.col - halo, 0)
        around = values[top : place.row + place.rows + halo, left : place.col + place.cols + halo]
        part = simulator.draw([3]).condition(Block(top, left, around), place)
        np.testing.assert_allclose(part.values[0], whole.values[1][place.within(0, 0)], atol=1e-4)


def test_seeds_bands_and_numbers_differ_and_repeat() -> None:
    kriging = survey_of(sparse((30, 30), 0.1), nested())
    pixels = Pixels(0, 0, 30, 30)

    def field(seed: int, band: int, number: int) -> np.ndarray:
        return Simulator.of(kriging, seed=seed, band=band).draw([number]).fields(pixels)[0]

    first = field(0, 0, 0)
    np.testing.assert_array_equal(first, field(0, 0, 0))
    for other in (field(1, 0, 0), field(0, 1, 0), field(0, 0, 1), field(0, 0, 2)):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.6


def test_a_long_range_takes_a_larger_torus_or_waves() -> None:
    long = Covariance((Structure("matern32", 1.0, 400.0),), 0.0)
    made = Circulant.of(long, (20, 20), STEP)
    assert made is None or made.lost < 1e-3
    assert Circulant.of(long, (20, 20), STEP, memory=1000) is None
    nothing = Circulant.of(Covariance((Structure("matern32", 0.0, 1.0),), 1.0), (5, 6), STEP)
    assert nothing is not None
    assert not nothing.pair(np.random.default_rng(0)).any()


def test_a_variogram_without_a_sill_cannot_be_simulated() -> None:
    power = Covariance((Structure("power", 1.0, 500.0, exponent=1.0),), 0.0)
    with pytest.raises(UsageError, match="no sill"):
        Simulator.of(survey_of(sparse((20, 20), 0.2), power))
