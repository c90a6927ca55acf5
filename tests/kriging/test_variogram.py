import itertools
import math

import numpy as np
import pytest

from geonp.errors import InputError, UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.variogram import empirical_variogram, fit_variogram, variogram_map


def simulate(covariance, count=400, side=100.0, seed=0):
    rng = np.random.default_rng(seed)
    coords = rng.uniform(0, side, (count, 2))
    matrix = covariance(coords, coords) + covariance.nugget * np.eye(count)
    return coords, np.linalg.cholesky(matrix + 1e-10 * np.eye(count)) @ rng.standard_normal(count)


def by_hand(coords, values, edges, keep=lambda dy, dx: True):
    found = [[] for _ in edges[1:]]
    for i in range(len(values)):
        for j in range(i):
            dy, dx = coords[i] - coords[j]
            h = math.hypot(dy, dx)
            for k, (low, high) in enumerate(itertools.pairwise(edges)):
                if low < h <= high and keep(dy, dx):
                    found[k].append((h, abs(values[i] - values[j])))
    return found


SMALL = np.random.default_rng(1).uniform(0, 10, (40, 2)), np.random.default_rng(2).standard_normal(40)


def test_matheron_and_cressie_written_out():
    pairs = by_hand(*SMALL, np.linspace(0, 6, 4))
    plain = empirical_variogram(*SMALL, seed=0, classes=3, reach=6.0)
    robust = empirical_variogram(*SMALL, seed=0, classes=3, reach=6.0, estimator="cressie")
    for k, found in enumerate(pairs):
        h, d = np.array(found).T
        n = len(d)
        assert plain.pairs[k] == n
        assert plain.lag[k] == pytest.approx(h.mean())
        assert plain.semivariance[k] == pytest.approx((d**2).sum() / (2 * n))
        assert robust.semivariance[k] == pytest.approx(np.sqrt(d).mean() ** 4 / (0.457 + 0.494 / n) / 2)


def test_directional_pairs_are_those_within_the_tolerance():
    coords, values = SMALL

    def keep(dy, dx):
        return abs((math.degrees(math.atan2(dy, dx)) - 100 + 90) % 180 - 90) <= 15

    found = empirical_variogram(*SMALL, seed=0, classes=2, reach=8.0, direction=100.0, tolerance=15.0)
    expected = by_hand(coords, values, [0, 4, 8], keep)
    assert found.pairs.tolist() == [len(e) for e in expected]


def test_robust_estimator_resists_outliers():
    coords, values = simulate(Covariance((Structure("exponential", 1.0, 15.0),), 0.0))
    spoilt = values.copy()
    spoilt[::60] += 20
    clean, plain, robust = (
        empirical_variogram(coords, v, seed=0, estimator=e).semivariance.mean()
        for v, e in ((values, "matheron"), (spoilt, "matheron"), (spoilt, "cressie"))
    )
    assert plain > 3 * clean
    assert robust < 2 * clean


def test_a_sample_of_many_keeps_short_distances():
    rng = np.random.default_rng(0)
    grid = np.argwhere(np.ones((150, 150))).astype(float)
    values = np.cumsum(rng.standard_normal((150, 150)), 0).ravel()
    found = empirical_variogram(grid, values, seed=0, classes=40, reach=40.0, sample=1500)
    assert len(found.lag) == 39  # a class begins with its lower bound, so none is shorter than 1
    assert found.lag[0] == pytest.approx((1 + math.sqrt(2)) / 2, abs=0.01)
    # Neighbours down a column differ by one step of variance 1, across by independent walks.
    down = empirical_variogram(grid, values, seed=0, classes=40, reach=40.0, direction=90.0, tolerance=1.0)
    np.testing.assert_allclose(down.semivariance[:3], [0.5, 1.0, 1.5], rtol=0.1)


def test_repeated_places_are_not_a_distance():
    coords = np.repeat(SMALL[0], 2, axis=0)
    values = np.repeat(SMALL[1], 2)
    once = empirical_variogram(*SMALL, seed=0, classes=3, reach=6.0)
    twice = empirical_variogram(coords, values, seed=0, classes=3, reach=6.0)
    np.testing.assert_allclose(twice.semivariance, once.semivariance)
    assert (twice.pairs == 4 * once.pairs).all()


def test_map_is_symmetric_and_shows_the_direction():
    model = Covariance((Structure("exponential", 1.0, 30.0, angle=90.0, ratio=0.2),), 0.0)
    coords, values = simulate(model, 600)
    found = variogram_map(coords, values, seed=0, cells=4, reach=25.0)
    np.testing.assert_allclose(found.semivariance, found.semivariance[::-1, ::-1])
    along, across = found.semivariance[[2, 6], 4].mean(), found.semivariance[4, [2, 6]].mean()
    assert across > 1.5 * along
    assert found.pairs.sum() > 0


def exact(model, direction=None, metric="euclidean"):
    """Return an empirical variogram without noise."""
    from geonp.kriging.variogram import EmpiricalVariogram

    lag = np.linspace(2, 60, 15)
    gamma = model.variogram(lag, direction)
    return EmpiricalVariogram(lag, gamma, np.full(15, 100), direction, "matheron", metric)


@pytest.mark.parametrize("family", ["exponential", "matern32", "matern52", "gaussian", "spherical"])
def test_fit_finds_the_model_that_made_the_variogram(family):
    model = Covariance((Structure(family, 3.0, 25.0),), 0.5)
    found = fit_variogram(exact(model), family)
    s = found.structures[0]
    assert (s.sill, s.range, found.nugget) == pytest.approx((3.0, 25.0, 0.5), rel=0.01)


def test_fit_of_a_power_variogram():
    model = Covariance((Structure("power", 0.3, 100.0, exponent=1.4),), 0.5)
    found = fit_variogram(exact(model), "power")
    s = found.structures[0]
    assert (s.sill, s.exponent, found.nugget) == pytest.approx((0.3, 1.4, 0.5), rel=0.01)
    assert s.range >= 60


def test_fit_of_an_anisotropy():
    model = Covariance((Structure("exponential", 2.0, 30.0, angle=20.0, ratio=0.4),), 0.1)
    found = fit_variogram(
        [exact(model, d) for d in (0.0, 45.0, 90.0, 135.0)], "exponential", anisotropic=True
    )
    s = found.structures[0]
    assert (s.range, s.angle, s.ratio) == pytest.approx((30.0, 20.0, 0.4), rel=0.02)


def test_meuse_zinc_is_fitted_as_gstat_fits_it(data):
    # gstat's manual: log(zinc), spherical, weights by pairs over squared distance: 0.051 + 0.591, range 897 m.
    table = np.genfromtxt(data / "points" / "meuse.csv", delimiter=",", names=True)
    coords = np.stack([table["y"], table["x"]], 1)
    empirical = empirical_variogram(coords, np.log(table["zinc"]), seed=0, reach=1500.0)
    found = fit_variogram(empirical, "spherical")
    s = found.structures[0]
    assert found.nugget == pytest.approx(0.051, abs=0.02)
    assert s.sill == pytest.approx(0.591, rel=0.1)
    assert s.range == pytest.approx(897, rel=0.1)


def test_same_seed_same_result():
    grid = np.argwhere(np.ones((80, 80))).astype(float)
    values = np.random.default_rng(0).standard_normal(6400)
    first, again = (empirical_variogram(grid, values, seed=4, sample=500) for _ in range(2))
    np.testing.assert_array_equal(first.semivariance, again.semivariance)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"values": np.ones(39)}, InputError, "40 coordinates but 39"),
        ({"values": np.full(40, np.nan)}, InputError, "not finite"),
        ({"coords": np.zeros((40, 2))}, InputError, "one place"),
        ({"coords": np.zeros((1, 2)), "values": np.zeros(1)}, InputError, "pairs"),
        ({"estimator": "dowd"}, UsageError, "matheron, cressie"),
        ({"classes": 0}, UsageError, "positive"),
        ({"direction": 0.0, "metric": "great-circle"}, UsageError, "great-circle"),
        ({"reach": 1e-9}, InputError, "raise reach"),
    ],
)
def test_what_cannot_be_used_is_explained(change, error, words):
    arguments = {"coords": SMALL[0], "values": SMALL[1], **change}
    with pytest.raises(error, match=words):
        empirical_variogram(seed=0, **arguments)


def test_a_fit_needs_classes_variation_and_directions():
    flat = empirical_variogram(SMALL[0], np.ones(40), seed=0)
    with pytest.raises(InputError, match="values that differ"):
        fit_variogram(flat, "exponential")
    with pytest.raises(UsageError, match="three directions"):
        fit_variogram(empirical_variogram(*SMALL, seed=0), "exponential", anisotropic=True)
