import numpy as np
import pytest

from geonp.errors import InputError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.scattered import PointKriging
from geonp.kriging.validation import Validation, leave_one_out

MODEL = Covariance((Structure("exponential", 4.0, 30.0),), 0.2)


def draw(count, seed=0):
    """Coordinates and a draw from the model itself."""
    rng = np.random.default_rng(seed)
    coords = rng.uniform(0, 100, (count, 2))
    k = 4 * np.exp(-np.linalg.norm(coords[:, None] - coords[None], axis=-1) / 30) + 0.2 * np.eye(count)
    return coords, 10 + np.linalg.cholesky(k) @ rng.normal(size=count)


@pytest.mark.parametrize("kind", ["simple", "ordinary", "universal"])
@pytest.mark.parametrize("drift", [False, True])
def test_one_factor_gives_what_leaving_out_one_by_one_gives(kind, drift):
    if kind == "simple" and drift:
        pytest.skip("simple kriging takes no drift")
    coords, values = draw(25)
    height, errors = np.cos(coords[:, 0]), np.linspace(0, 1, 25)
    mean = 9.0 if kind == "simple" else None

    def ready(keep):
        return PointKriging.of(
            coords[keep],
            values[keep],
            MODEL,
            kind=kind,
            mean=mean,
            errors=errors[keep],
            drift=height[keep] if drift else None,
        )

    got = leave_one_out(ready(np.ones(25, bool)))
    for i in range(25):
        keep = np.arange(25) != i
        m, v = ready(keep).predict(coords[[i]], height[[i]] if drift else None)
        assert got.residual[i] == pytest.approx(values[i] - m[0], rel=1e-7)
        assert got.std[i] ** 2 == pytest.approx(v[0] + 0.2 + errors[i], rel=1e-7)


def test_neighbours_leave_the_observation_itself_out():
    coords, values = draw(60)
    exact = leave_one_out(PointKriging.of(coords, values, MODEL))
    local = leave_one_out(PointKriging.of(coords, values, MODEL, neighbours=59))
    np.testing.assert_allclose(local.residual, exact.residual, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(local.std, exact.std, rtol=1e-7)
    few = PointKriging.of(coords, values, MODEL, neighbours=1)
    near = np.argsort(np.linalg.norm(coords[:, None] - coords[None], axis=-1), axis=1)[:, 1]
    np.testing.assert_allclose(leave_one_out(few).residual, values - values[near])


def test_the_right_model_is_found_right():
    """On draws from the model, standardised residuals are standard normal and coverage is nominal."""
    pooled = [leave_one_out(PointKriging.of(*draw(300, seed), MODEL)) for seed in range(8)]
    both = Validation(*(np.concatenate([getattr(v, name) for v in pooled]) for name in ("residual", "std")))
    assert both.standardised_rmse == pytest.approx(1, abs=0.05)
    assert both.coverage(0.9) == pytest.approx(0.9, abs=0.02)
    assert both.coverage(0.5) == pytest.approx(0.5, abs=0.03)
    assert abs(both.me) < 0.1


def test_the_figures_are_what_their_formulas_say():
    given = Validation(np.array([1.0, -2.0, 0.5]), np.array([1.0, 1.0, 2.0]))
    assert given.me == pytest.approx(-1 / 6)
    assert given.rmse == pytest.approx(np.sqrt(5.25 / 3))
    assert given.standardised_rmse == pytest.approx(np.sqrt((1 + 4 + 1 / 16) / 3))
    assert given.coverage(0.68269) == pytest.approx(2 / 3)
    assert given.coverage(0.96) == pytest.approx(1.0)


def test_crps_is_the_integral_of_the_squared_distance_of_distributions():
    from math import erf, sqrt

    for error, std in ((0.7, 1.3), (-2.0, 0.5)):
        x = np.linspace(-30, 30, 600_001)
        normal = np.array([0.5 * (1 + erf(v / sqrt(2) / std)) for v in x[::100]])
        normal = np.interp(x, x[::100], normal)
        integral = ((normal - (x >= error)) ** 2).sum() * (x[1] - x[0])
        assert Validation(np.array([error]), np.array([std])).crps == pytest.approx(integral, rel=1e-3)


def test_merged_observations_count_as_one():
    coords, values = draw(20)
    doubled = leave_one_out(PointKriging.of(np.vstack([coords, coords]), np.tile(values, 2), MODEL))
    assert len(doubled.residual) == 20


def test_one_observation_cannot_be_left_out():
    with pytest.raises(InputError, match="at least two observations"):
        leave_one_out(PointKriging.of([[0.0, 0.0]], [1.0], MODEL))
    with pytest.raises(InputError, match="N >= 1"):
        Validation(np.zeros(0), np.zeros(0))


def test_meuse_zinc_is_cross_validated_as_by_others(data):
    """Log zinc, the exponential of the textbooks (Pebesma 2004, Computers and Geosciences 30): rmse about 0.39."""
    table = np.genfromtxt(
        data / "points" / "meuse.csv", delimiter=",", names=True, dtype=None, encoding="utf-8"
    )
    coords = np.stack([table["y"], table["x"]], 1).astype(float)
    model = Covariance((Structure("exponential", 0.7186, 449.7),), 0.0)
    found = leave_one_out(PointKriging.of(coords, np.log(table["zinc"].astype(float)), model))
    assert found.rmse == pytest.approx(0.39, abs=0.01)
    assert abs(found.me) < 0.01
