"""What a GPU computes is what the processor does; on a machine without one, torch's arrays there play its part."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import geonp.kriging
from geonp.errors import InputError, UsageError
from geonp.kriging import arrays, linalg
from geonp.kriging.arrays import PROCESSOR, Device, device_called, fetch
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.evidence import leave_one_out
from geonp.kriging.exact import Exact
from geonp.kriging.leftout import leave_out_all
from geonp.kriging.local import Groups, krige_groups
from geonp.kriging.points import Observations
from geonp.kriging.raster import RasterKriging
from geonp.kriging.several import Several
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey

FACTORIES = (torch.zeros, torch.ones, torch.empty, torch.full, torch.arange, torch.eye, torch.tensor)
FACTORIES += (torch.linspace, torch.tril_indices, torch.rand, torch.randn)
MODEL = Covariance((Structure("matern32", 4.0, 9.0, angle=20.0, ratio=0.5),), 0.1)
TORCH = Device(torch.device("cpu"))
PLACE = Pixels(0, 0, 90, 80)


class Stated(TorchFunctionMode):
    """Fails where a tensor is made without saying where."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in FACTORIES:
            self.made += 1
            assert (kwargs or {}).get("device") is not None, (
                f"torch.{func.__name__} is called without a device"
            )
        return func(*args, **(kwargs or {}))


def scene(share: float) -> tuple[Block, Survey]:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (90, 80)).astype("f4")
    values[rng.random(values.shape) > share] = np.nan
    values[30:60, 25:55] = np.nan
    return Block(0, 0, values), Survey.of([Block(0, 0, values)], 1 << 20)


def solver_on(device: Device, kind: str = "ordinary", dtype: str = "float64") -> Solver:
    return Solver(MODEL, kind, dtype=dtype, device=device)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("kind", ["simple", "ordinary", "universal"])
@pytest.mark.parametrize("followed", [False, True])
def test_rasters(share: float, kind: str, followed: bool) -> None:
    if followed and kind == "simple":
        pytest.skip("simple kriging takes no drift")
    given, survey = scene(share)
    drift = None
    if followed:
        given = Block(0, 0, given.values, np.random.default_rng(1).normal(0, 1, (1, 90, 80)).astype("f4"))
        drift = given.covariates(survey.rows, survey.cols)
    found = []
    for device in (PROCESSOR, TORCH):
        kriging = RasterKriging((90, 80), (-1.0, 1.0), survey, solver_on(device, kind), drift=drift)
        with Stated() as mode:
            found.append(kriging.complete(given, PLACE))
    assert mode.made or kriging.exact
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-8)


def test_rasters_in_single_precision() -> None:
    given, survey = scene(0.5)
    one, other = (
        RasterKriging((90, 80), (-1.0, 1.0), survey, solver_on(device, dtype="float32")).complete(
            given, PLACE
        )
        for device in (PROCESSOR, TORCH)
    )
    np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-3)


def test_errors_of_observations_and_leave_one_out() -> None:
    given, _ = scene(0.5)
    errors = np.where(np.isfinite(given.values), 0.3, np.nan).astype("f4")
    given = Block(0, 0, given.values, errors=errors)
    survey = Survey.of([given], 1 << 20)
    found = []
    for device in (PROCESSOR, TORCH):
        kriging = RasterKriging((90, 80), (-1.0, 1.0), survey, solver_on(device), smooth=True)
        with Stated():
            found.append((*kriging.complete(given, PLACE), *leave_one_out(kriging, given, PLACE, (1.0, 1.0))))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_several_fields(share: float) -> None:
    given, survey = scene(share)
    layers = np.stack([given.values, 2 * given.values**2]).astype("f4")

    def everywhere() -> np.ndarray:
        return layers[:, survey.rows, survey.cols].astype(np.float64)

    found = []
    for device in (PROCESSOR, TORCH):
        kriging = RasterKriging((90, 80), (-1.0, 1.0), survey, solver_on(device))
        with Stated():
            means, variance = Several.of(kriging).complete_all(given, layers, everywhere, PLACE)
            left, spread = leave_out_all(kriging, given, layers, everywhere, PLACE)
        found.append(np.concatenate([means, variance[None], left, spread[None]]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("averaged", [False, True])
def test_points(averaged: bool) -> None:
    coords = np.random.default_rng(0).uniform(0, 50, (60, 2))
    observations = Observations(coords, coords.sum(1), np.full(60, 0.2), np.zeros((60, 0)), 0)
    near = np.argsort(np.linalg.norm(coords[:, None] - coords, axis=-1), 1)[:, 1:9]
    near[::3, 5:] = -1
    groups = Groups(coords[:, None] + np.array([[0.3, 0.1], [0.2, 0.5]]), np.zeros((60, 2, 0)), averaged)
    found = []
    for device in (PROCESSOR, TORCH):
        solver = solver_on(device, "universal")
        with Stated():
            local = np.concatenate(krige_groups(observations, near, groups, solver))
            exact = Exact.of(observations, solver)
            every = np.concatenate([*exact.predict(coords + 0.5, np.zeros((60, 0))), *exact.leave_one_out()])
        found.append(np.concatenate([local.ravel(), every]))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-8, atol=1e-8)


FAMILIES = [(f, {}) for f in ("exponential", "matern12", "matern32", "matern52", "gaussian", "spherical")]
FAMILIES += [
    ("matern", {"nu": 1.2}),
    ("matern", {"nu": 0.5}),
    ("power", {"exponent": 1.0}),
    ("power", {"exponent": 1.4}),
]


@pytest.mark.parametrize(("family", "extra"), FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_covariances(family: str, extra: dict, dtype: str) -> None:
    model = Covariance((Structure(family, 1.0, 60.0, angle=20.0, ratio=0.5, **extra), *MODEL.structures), 0.1)
    a, b = np.random.default_rng(0).uniform(0, 30, (2, 3, 40, 2)).astype(dtype)
    b[:, :5] = a[:, :5]
    on_torch = model(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    found = model(a, b)
    assert found.dtype == on_torch.dtype == dtype
    # Torch's own float32 distances err by more than NumPy's.
    np.testing.assert_allclose(found, on_torch, rtol=0, atol=2e-4 if dtype == "float32" else 1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_factors_and_what_is_solved_with_them(dtype: type) -> None:
    rng = np.random.default_rng(0)
    root = rng.normal(0, 1, (5, 7, 9))
    k, right = (root @ root.mT).astype(dtype), rng.normal(0, 1, (5, 7, 3)).astype(dtype)
    tolerance = {"rtol": 0, "atol": 2e-4 if dtype == np.float32 else 1e-11}
    for made in (np.asarray, torch.from_numpy):
        lower = linalg.cholesky(made(k))
        np.testing.assert_allclose(fetch(lower @ lower.mT), k, **tolerance)
        np.testing.assert_allclose(fetch(lower @ linalg.forward(lower, made(right))), right, **tolerance)
        np.testing.assert_allclose(fetch(lower.mT @ linalg.back(lower, made(right))), right, **tolerance)
        np.testing.assert_allclose(k @ fetch(linalg.solve(lower, made(right))), right, **tolerance)
        one = fetch(linalg.forward(lower, made(right)[:1]))
        np.testing.assert_allclose(one[3], fetch(linalg.forward(lower, made(right)[[0] * 5]))[3], **tolerance)
        inverse = np.linalg.inv(k.astype(np.float64))
        found = fetch(linalg.inverse_diagonal(lower))
        np.testing.assert_allclose(
            found, np.einsum("bii->bi", inverse), rtol=1e-3 if dtype == np.float32 else 1e-9
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_blas_with_other_integers_solves_the_same(dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(0, 1, (3, 6, 8))
    lower = np.linalg.cholesky(root @ root.mT).astype(dtype)
    right = rng.normal(0, 1, (3, 6, 4)).astype(dtype)
    by_c = linalg.forward(lower, right), linalg.back(lower, right)
    monkeypatch.setattr(linalg, "_of_blas", lambda name: None)
    np.testing.assert_array_equal(linalg.forward(lower, right), by_c[0])
    np.testing.assert_array_equal(linalg.back(lower, right), by_c[1])


@pytest.mark.parametrize("made", [np.asarray, torch.from_numpy])
def test_jitter_is_added_to_matrices_that_need_it_alone(made) -> None:
    good, flat = np.eye(4) * 2, np.ones((4, 4))
    lower = fetch(linalg.cholesky(made(np.stack([good, flat]))))
    np.testing.assert_array_equal(lower[0], np.linalg.cholesky(good))
    np.testing.assert_allclose(lower[1] @ lower[1].T, flat, atol=1e-10)
    with pytest.raises(InputError, match="1 neighbourhood"):
        linalg.cholesky(made(np.stack([good, -good])))
    with pytest.raises(InputError, match="finite"):
        linalg.cholesky(made(np.stack([good, good * np.nan])))


def test_a_device_is_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Device.called("cpu") is PROCESSOR
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_called("auto") == "cpu"
    with pytest.raises(UsageError, match="cpu alone"):
        device_called("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_called("auto") == "cuda"
    assert Device.called("cuda:1").torch == torch.device("cuda:1")
    assert not Device.called("cuda").processor
    with pytest.raises(UsageError, match="cpu, cuda"):
        device_called("tpu")


def test_torch_is_not_asked_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("torch is asked"))
    monkeypatch.delitem(sys.modules, "torch")
    assert device_called("auto") == "cpu"


def test_everything_before_the_first_answer_stays_on_the_device() -> None:
    """On "meta" an operation between a tensor there and one on the CPU fails, as it would on a GPU."""
    meta = torch.device("meta")
    points = torch.zeros(3, 7, 2, dtype=torch.float32, device=meta)
    for family, extra in (("exponential", {}), ("matern52", {}), ("gaussian", {}), ("spherical", {})):
        model = Covariance(
            (Structure(family, 1.0, 2.0, angle=20.0, ratio=0.5, **extra), *MODEL.structures), 0.1
        )
        found = model(points, points[:, :4])
        assert (found.device, found.dtype, found.shape) == (meta, torch.float32, (3, 7, 4))


def test_arrays_leave_the_device_only_where_it_is_said() -> None:
    """Of what may lie on a GPU, NumPy's own functions know nothing: `fetch` brings it back, and nothing else does."""
    folder = Path(geonp.kriging.__file__).parent
    for name in ("exact", "local", "tiles", "raster", "board", "several", "leftout", "system", "linalg"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        assert not called & {"numpy", "cpu", "from_numpy"}, name
