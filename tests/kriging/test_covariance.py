import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import gamma, kv

from geonp.errors import UsageError
from geonp.kriging.covariance import FAMILIES, Covariance, Structure
from geonp.kriging.distance import EARTH_RADIUS, on_sphere

EXTRA = {"matern": {"nu": 0.8}, "power": {"exponent": 1.3}}
BY_HAND = {
    "exponential": lambda h: np.exp(-h),
    "matern12": lambda h: np.exp(-h),
    "matern32": lambda h: (1 + math.sqrt(3) * h) * np.exp(-math.sqrt(3) * h),
    "matern52": lambda h: (1 + math.sqrt(5) * h + 5 / 3 * h**2) * np.exp(-math.sqrt(5) * h),
    "gaussian": lambda h: np.exp(-(h**2) / 2),
    "spherical": lambda h: np.where(h < 1, 1 - 1.5 * h + 0.5 * h**3, 0),
}


def points(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(*shape, 2, generator=generator, dtype=torch.float64) * 40 - 20).to(dtype)


def one(family, sill=2.0, reach=7.0, nugget=0.0, **more):
    return Covariance((Structure(family, sill, reach, **EXTRA.get(family, {}), **more),), nugget)


@pytest.mark.parametrize("family", BY_HAND)
def test_formula_written_out(family):
    a, b = points(5), points(4, seed=1)
    h = np.linalg.norm(a.numpy()[:, None] - b.numpy()[None], axis=-1) / 7
    np.testing.assert_allclose(one(family)(a, b).numpy(), 2 * BY_HAND[family](h), rtol=1e-12, atol=1e-14)


def test_power_variogram_is_the_power_of_the_lag():
    lag = torch.tensor([0.0, 1.0, 3.0], dtype=torch.float64)
    model = Covariance((Structure("power", 0.5, 100.0, exponent=1.3),), 0.2)
    np.testing.assert_allclose(model.variogram(lag), [0, 0.7, 0.2 + 0.5 * 3**1.3], rtol=1e-12)
    assert not model.bounded


@pytest.mark.parametrize("nu", [0.1, 0.4, 1.0, 3.3, 12.0, 40.0])
def test_general_matern_against_the_bessel_function(nu):
    h = torch.logspace(-6, 2, 60, dtype=torch.float64)
    t = np.sqrt(2 * nu) * h.numpy() / 3
    expected = 2 ** (1 - nu) / gamma(nu) * t**nu * kv(nu, t)
    found = Structure("matern", 1.0, 3.0, nu=nu).of_distance(h.clone()).numpy()
    known = np.isfinite(expected)
    np.testing.assert_allclose(found[known], expected[known], atol=1e-11)


def test_general_matern_meets_its_half_integers_and_is_one_at_zero():
    h = torch.tensor([0.0, 1e-9, 0.3, 2.0, 30.0], dtype=torch.float64)
    for nu, family in ((0.5, "exponential"), (1.5, "matern32"), (2.5, "matern52")):
        near = Structure("matern", 1.0, 2.0, nu=nu + 1e-7).of_distance(h.clone())
        np.testing.assert_allclose(near, Structure(family, 1.0, 2.0).of_distance(h.clone()), atol=1e-6)
        assert near[0] == 1


def test_large_nu_tends_to_gaussian():
    h = torch.linspace(0, 4, 30, dtype=torch.float64)
    smooth = Structure("matern", 1.0, 1.0, nu=49.0).of_distance(h.clone())
    np.testing.assert_allclose(smooth, np.exp(-(h.numpy() ** 2) / 2), atol=0.01)


@pytest.mark.parametrize("family", FAMILIES)
def test_positive_definite_and_symmetric(family):
    x = points(60)
    model = one(family, reach=60.0)
    matrix = model(x, x).numpy()
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), model.sill)
    assert np.linalg.eigvalsh(matrix).min() > -1e-10 * model.sill


@pytest.mark.parametrize("exponent", [0.2, 1.0, 1.5, 1.9])
def test_power_is_positive_definite_up_to_its_reach(exponent):
    side = torch.linspace(0, 10 / math.sqrt(2), 12, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    matrix = Covariance((Structure("power", 1.0, 10.0, exponent=exponent),), 0.0)(x, x).numpy()
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("family", FAMILIES)
def test_batches_pieces_and_dtypes(family):
    model = one(family, angle=20.0, ratio=0.5)
    a, b = points(3, 170), points(3, 200, seed=1)  # more elements than one piece holds
    whole = model(a, b)
    assert whole.shape == (3, 170, 200)
    for i in range(3):
        np.testing.assert_allclose(whole[i], model(a[i], b[i]), rtol=1e-13, atol=1e-13)
    single = model(a.float(), b.float())
    assert single.dtype == torch.float32
    np.testing.assert_allclose(single, whole, atol=2e-4 * model.sill)


@pytest.mark.parametrize("family", FAMILIES)
def test_inputs_are_left_alone(family):
    a, lag = points(5), torch.linspace(0, 5, 5, dtype=torch.float64)
    copies = a.clone(), lag.clone()
    one(family)(a, a)
    one(family).variogram(lag)
    assert torch.equal(a, copies[0])
    assert torch.equal(lag, copies[1])


def test_nested_structures_add_up_whatever_their_shapes():
    a, b = points(30), points(20, seed=1)
    terms = (Structure("matern32", 1.0, 3.0, angle=30.0, ratio=0.4), Structure("exponential", 2.0, 30.0))
    alike = tuple(dataclasses.replace(t, angle=10.0, ratio=0.7) for t in terms)
    for group in (terms, alike):
        expected = sum(Covariance((t,), 0.0)(a, b) for t in group)
        np.testing.assert_allclose(Covariance(group, 0.3)(a, b), expected, rtol=1e-13)


def test_anisotropy_is_long_along_its_angle_counter_clockwise_from_x():
    model = one("exponential", reach=10.0, angle=30.0, ratio=0.25)
    origin = torch.zeros(1, 2, dtype=torch.float64)
    c, s = math.cos(math.radians(30)), math.sin(math.radians(30))
    along, across = torch.tensor([[s, c]], dtype=torch.float64), torch.tensor([[c, -s]], dtype=torch.float64)
    assert float(model(origin, 10 * along)) == pytest.approx(2 * math.exp(-1))
    assert float(model(origin, 2.5 * across)) == pytest.approx(2 * math.exp(-1))
    lag = torch.tensor([4.0], dtype=torch.float64)
    assert float(model.variogram(lag, 30.0)) == pytest.approx(2 - float(model(origin, 4 * along)))
    assert float(model.variogram(lag, 120.0)) == pytest.approx(2 - float(model(origin, 4 * across)))
    assert float(model.variogram(lag)) == pytest.approx(float(model.variogram(lag, 30.0)))


@given(turn=st.floats(-360, 360), shift=st.floats(-1e4, 1e4))
def test_turning_points_and_angle_together_changes_nothing(turn, shift):
    a = points(6)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    y, x = a.unbind(-1)
    turned = torch.stack([s * x + c * y, c * x - s * y], -1) + shift
    before = one("matern32", angle=15.0, ratio=0.3)(a, a)
    after = one("matern32", angle=15.0 + turn, ratio=0.3)(turned, turned)
    np.testing.assert_allclose(after, before, atol=1e-7)


def test_nearby_points_far_from_the_origin_keep_their_distance():
    a = torch.tensor([[5e6, 4e5]], dtype=torch.float64)
    b = a + torch.tensor([[1e-3, 0.0]], dtype=torch.float64)
    assert 1 - float(one("exponential", sill=1.0, reach=1.0)(a, b)) == pytest.approx(1e-3, rel=1e-3)


def test_great_circle_distances_are_chords_of_the_globe():
    metric = Covariance((Structure("exponential", 1.0, 1e6),), 0.0, "great-circle")
    paris, rome = [48.8566, 2.3522], [41.9028, 12.4964]
    phi, lam = np.radians([paris, rome]).T
    arc = (
        EARTH_RADIUS
        * 2
        * np.arcsin(
            np.sqrt(
                np.sin((phi[1] - phi[0]) / 2) ** 2 + np.cos(phi).prod() * np.sin((lam[1] - lam[0]) / 2) ** 2
            )
        )
    )
    assert arc == pytest.approx(1.1055e6, rel=1e-3)
    chord = 2 * EARTH_RADIUS * np.sin(arc / 2 / EARTH_RADIUS)
    a, b = (torch.tensor([p], dtype=torch.float64) for p in (paris, rome))
    assert float(metric(a, b)) == pytest.approx(np.exp(-chord / 1e6), rel=1e-12)


def test_the_date_line_and_the_poles_are_no_edge():
    points = torch.tensor([[10.0, 179.9], [10.0, -179.9], [90.0, 0.0], [90.0, 77.0]], dtype=torch.float64)
    distance = torch.cdist(on_sphere(points), on_sphere(points))
    assert float(distance[0, 1]) == pytest.approx(
        math.radians(0.2) * math.cos(math.radians(10)) * EARTH_RADIUS, rel=1e-4
    )
    assert float(distance[2, 3]) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("family", [f for f in FAMILIES if f != "power"])
def test_effective_range_is_where_the_variogram_reaches_95_percent(family):
    model = one(family, nugget=5.0)
    at = torch.tensor([model.effective_range], dtype=torch.float64)
    assert float(model.variogram(at)) - 5 == pytest.approx(0.95 * model.sill, rel=1e-6)


def test_sills_and_scaling():
    model = Covariance((Structure("exponential", 2.0, 5.0), Structure("spherical", 1.0, 9.0)), 0.5)
    assert (model.sill, model.total_sill) == (3.0, 3.5)
    larger = model.scaled(4.0)
    assert larger.nugget == 2.0
    np.testing.assert_allclose(larger(points(4), points(4)), 4 * model(points(4), points(4)))


structures = st.builds(
    Structure,
    family=st.sampled_from([f for f in FAMILIES if f not in EXTRA]),
    sill=st.floats(0, 1e6),
    range=st.floats(1e-3, 1e6),
    angle=st.floats(-180, 180),
    ratio=st.floats(0.01, 1),
)


@given(st.builds(Covariance, st.lists(structures, min_size=1, max_size=3).map(tuple), st.floats(0, 1e6)))
def test_json_round_trip(model):
    assert Covariance.from_json(model.to_json()) == model


def test_json_round_trip_with_family_parameters():
    model = Covariance((one("matern").structures[0], one("power").structures[0]), 0.1)
    assert Covariance.from_json(model.to_json()) == model


def edited(**change):
    raw = json.loads(one("exponential").to_json())
    raw.update(change)
    return json.dumps(raw)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "JSON"),
        ("[1]", "object"),
        (edited(sills=3), "'sills'.*structures, nugget, metric"),
        ('{"nugget": 0}', "needs structures"),
        (edited(structures={}), "list"),
        (edited(structures=[]), "at least one"),
        (edited(structures=[{"family": "cubic", "sill": 1, "range": 1}]), "'cubic'.*matern32"),
        (edited(structures=[{"family": "exponential", "sill": 1, "reach": 1}]), "'reach'.*range"),
        (edited(structures=[{"family": "exponential", "sill": "1", "range": 1}]), "finite number.*'1'"),
        (edited(structures=[{"family": "exponential", "sill": 1, "range": 0}]), "positive"),
        (edited(nugget=-1), ">= 0.*-1"),
        (edited(nugget=float("nan")), "nan"),
        (edited(metric="manhattan"), "manhattan.*great-circle"),
    ],
)
def test_json_that_is_wrong_is_explained(text, words):
    with pytest.raises(UsageError, match=words):
        Covariance.from_json(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ratio": 1.5}, "angle by 90"),
        ({"ratio": 0.0}, r"\(0, 1\]"),
        ({"sill": -1.0}, "negative"),
        ({"nu": 1.0}, "belongs to family matern"),
        ({"exponent": 1.0}, "belongs to family power"),
        ({"family": "matern"}, "needs nu"),
        ({"family": "power", "exponent": 2.0}, "between 0 and 2"),
        ({"angle": math.inf}, "finite"),
    ],
)
def test_structures_outside_their_domain(arguments, words):
    with pytest.raises(UsageError, match=words):
        Structure(**{"family": "exponential", "sill": 1.0, "range": 1.0, **arguments})


def test_no_anisotropy_on_the_globe():
    with pytest.raises(UsageError, match="globe"):
        Covariance((Structure("exponential", 1.0, 1e5, ratio=0.5),), 0.0, "great-circle")
