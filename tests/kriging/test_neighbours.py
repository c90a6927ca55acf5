from itertools import pairwise

import numpy as np
import pytest

from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.neighbours import Layer, Neighbourhoods, embed, layers_of
from geonp.kriging.scattered import PointKriging, krige

from .naive import exponential, naive_kriging

MODEL = Covariance((Structure("exponential", 4.0, 30.0),), 0.1)


def search(places, count, sectors):
    return Neighbourhoods(places, layers_of(places), count, sectors)


def test_one_sector_is_the_nearest_points():
    rng = np.random.default_rng(0)
    places, centres = rng.uniform(0, 1, (500, 2)), rng.uniform(0, 1, (40, 2))
    near = search(places, 12, 1).near(centres)
    distance = np.linalg.norm(centres[:, None] - places[None], axis=-1)
    np.testing.assert_array_equal(near, np.argsort(distance, axis=1)[:, :12])


def test_every_quadrant_offers_its_nearest():
    rng = np.random.default_rng(1)
    places, centres = rng.uniform(0, 1, (2000, 2)), rng.uniform(0.3, 0.7, (30, 2))
    near = search(places, 16, 4).near(centres)
    for centre, index in zip(centres, near, strict=True):
        offset = places - centre
        expected = []
        for quadrant in range(4):
            y, x = offset[:, 0] * (1 if quadrant < 2 else -1), offset[:, 1] * (1 if quadrant % 2 else -1)
            mine = np.flatnonzero((y > 0) & (x > 0))
            expected.extend(mine[np.argsort(np.linalg.norm(offset[mine], axis=1))[:4]])
        assert set(index) == set(expected)
        assert (np.diff(np.linalg.norm(offset[index], axis=1)) >= 0).all()


def test_the_far_side_of_a_gap_is_seen_past_a_crowded_near_side():
    rng = np.random.default_rng(2)
    near_side, far_side = (
        rng.uniform(0, 1, (5000, 2)) * [1, 10],
        rng.uniform(0, 1, (50, 2)) * [1, 10] + [40, 0],
    )
    places = np.vstack([near_side, far_side])
    near = search(places, 16, 8).near(np.array([[3.0, 5.0]]))[0]
    assert (near >= 5000).any()
    assert (near < 5000).sum() >= 8
    assert len(set(near)) == 16


def test_what_empty_sectors_leave_the_nearest_fill():
    places = np.stack([np.zeros(200), np.arange(200.0)], 1)
    near = search(places, 24, 8).near(np.array([[0.0, -1.0]]))[0]
    np.testing.assert_array_equal(near, np.arange(24))


def test_fewer_points_than_wanted_leave_minus_one():
    places = np.array([[0.0, 0.0], [1.0, 1.0], [0.0, 3.0]])
    near = search(places, 6, 4).near(np.array([[0.1, 0.1], [0.0, 3.1]]))
    np.testing.assert_array_equal(near, [[0, 1, 2, -1, -1, -1], [2, 1, 0, -1, -1, -1]])


@pytest.mark.parametrize("places", [np.zeros((1, 2)), np.stack([np.arange(50.0), np.arange(50.0)], 1)])
def test_one_point_and_points_on_a_line_are_searched(places):
    near = search(places, 8, 8).near(np.array([[0.2, 0.1]]))
    assert near[0, 0] == 0


def test_layers_get_sparser_and_cover_the_extent():
    rng = np.random.default_rng(4)
    places = rng.uniform(0, 100, (20_000, 2))
    layers = layers_of(places)
    sizes = [len(layer.members) for layer in layers]
    assert sizes[0] == 20_000
    assert all(a > 4 * b for a, b in pairwise(sizes))
    for layer in layers:
        assert np.ptp(places[layer.members], axis=0).min() > 40 if len(layer.members) > 8 else True


def test_a_layer_with_a_reach_gives_way_to_the_next_beyond_it():
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(5)
    dense, sparse = rng.uniform(-10, 10, (4000, 2)), rng.uniform(-10, 10, (60, 2))
    places = np.vstack([sparse, dense])
    layers = (Layer(np.arange(60, 4060), cKDTree(dense), 0.5), Layer(np.arange(60), cKDTree(sparse)))
    near = Neighbourhoods(places, layers, 40, 1).near(np.zeros((1, 2)))[0]
    distance = np.linalg.norm(places[near], axis=1)
    assert (distance[near >= 60] <= 0.5).all()
    assert (distance[near < 60] > 0.5).all()
    assert (near >= 60).sum() == (np.linalg.norm(dense, axis=1) <= 0.5).sum()


def test_anisotropy_decides_what_is_near():
    model = Covariance((Structure("exponential", 1.0, 10.0, angle=0.0, ratio=0.1),), 0.0)
    places = embed(np.array([[0.0, 5.0], [1.0, 0.0], [-2.0, 0.0]]), model)
    near = search(places, 3, 1).near(embed(np.zeros((1, 2)), model))[0]
    np.testing.assert_array_equal(near, [0, 1, 2])


def test_neighbours_are_found_over_the_pole_and_the_date_line():
    model = Covariance((Structure("exponential", 1.0, 1e6),), 0.0, metric="great-circle")
    coords = np.array([[89.0, 10.0], [89.0, -170.0], [60.0, 10.0], [0.0, 179.9], [0.0, -179.9], [0.0, 170.0]])
    places = embed(coords, model)
    near = search(places, 2, 2).near(embed(np.array([[90.0, 0.0], [0.0, 180.0]]), model))
    assert set(near[0]) == {0, 1}
    assert set(near[1]) == {3, 4}


def test_all_points_as_neighbours_is_exact_kriging():
    rng = np.random.default_rng(6)
    coords, values, targets = rng.uniform(0, 100, (70, 2)), rng.normal(size=70), rng.uniform(0, 100, (20, 2))
    for kind in ("simple", "ordinary", "universal"):
        exact = PointKriging.of(coords, values, MODEL, kind=kind).predict(targets)
        local = PointKriging.of(coords, values, MODEL, kind=kind, neighbours=70).predict(targets)
        np.testing.assert_allclose(local[0], exact[0], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(local[1], exact[1], rtol=1e-7)


def test_external_drift_and_errors_in_neighbourhoods():
    rng = np.random.default_rng(7)
    coords, targets = rng.uniform(0, 100, (50, 2)), rng.uniform(0, 100, (9, 2))
    height, there, errors = rng.normal(900, 50, 50), rng.normal(900, 50, 9), rng.uniform(0, 1, 50)
    values = 0.1 * height + rng.normal(size=50)
    given = {"drift": height, "target_drift": there, "errors": errors}
    exact = krige(coords, values, targets, MODEL, **given)
    local = krige(coords, values, targets, MODEL, neighbours=50, **given)
    np.testing.assert_allclose(local.mean, exact.mean, rtol=1e-8)
    np.testing.assert_allclose(local.variance, exact.variance, rtol=1e-6)


def test_each_target_agrees_with_the_system_of_its_neighbours():
    rng = np.random.default_rng(8)
    coords, values, targets = (
        rng.uniform(0, 100, (400, 2)),
        rng.normal(size=400),
        rng.uniform(0, 100, (11, 2)),
    )
    got = krige(coords, values, targets, MODEL, neighbours=13, noise=False)
    near = Neighbourhoods(coords, layers_of(coords), 13, 8).near(targets)
    for i, target in enumerate(targets):
        k = near[i]
        ones = np.ones((13, 1))
        expected = naive_kriging(
            exponential(4.0, 30.0), coords[k], values[k], np.full(13, 0.1), target[None], ones, ones[:1]
        )
        assert got.mean[i] == pytest.approx(expected[0][0])
        assert got.variance[i] == pytest.approx(expected[1][0])


def test_a_plane_that_few_neighbours_cannot_tell_stays_finite():
    rng = np.random.default_rng(9)
    coords, values = rng.uniform(0, 100, (200, 2)), rng.normal(size=200)
    got = krige(coords, values, rng.uniform(0, 100, (30, 2)), MODEL, kind="universal", neighbours=2)
    assert np.isfinite(got.mean).all()
    assert (got.variance > 4).all()


def test_the_variance_is_never_negative_however_smooth_the_field():
    rng = np.random.default_rng(10)
    coords = rng.uniform(0, 10, (3000, 2))
    model = Covariance((Structure("gaussian", 1e6, 20.0),), 0.0)
    got = krige(coords, 1e3 * np.sin(coords.sum(1)), coords[:500] + 1e-3, model, neighbours=64)
    assert np.isfinite(got.mean).all()
    assert (got.variance >= 0).all()
