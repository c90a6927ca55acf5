"""Every tensor is made where it is used: on a machine without a GPU, the device "meta" plays the GPU's part."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import geonp.kriging
from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.evidence import leave_one_out
from geonp.kriging.raster import RasterKriging
from geonp.kriging.scattered import Options, PointKriging
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey

FACTORIES = (torch.zeros, torch.ones, torch.empty, torch.full, torch.arange, torch.eye, torch.tensor)
FACTORIES += (torch.linspace, torch.tril_indices, torch.rand, torch.randn)
MODEL = Covariance((Structure("matern32", 4.0, 9.0, angle=20.0, ratio=0.5),), 0.1)


class Stated(TorchFunctionMode):
    """Fails where a tensor is made without saying where."""

    def __init__(self) -> None:
        super().__init__()
        self.made = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in FACTORIES:
            self.made += 1
            assert "device" in (kwargs or {}), f"torch.{func.__name__} is called without a device"
        return func(*args, **(kwargs or {}))


def scene(share: float) -> tuple[Block, Survey]:
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (90, 80)).astype("f4")
    values[rng.random(values.shape) > share] = np.nan
    values[30:60, 25:55] = np.nan
    return Block(0, 0, values), Survey.of([Block(0, 0, values)], 1 << 20)


@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("followed", [False, True])
def test_rasters_are_kriged_where_they_are_told_to_be(
    share: float, dtype: torch.dtype, followed: bool
) -> None:
    given, survey = scene(share)
    drift = None
    if followed:
        given = Block(0, 0, given.values, np.random.default_rng(1).normal(0, 1, (1, 90, 80)).astype("f4"))
        drift = given.covariates(survey.rows, survey.cols)
    solver = Solver(MODEL, "universal", dtype=dtype, device=torch.device("cpu"))
    kriging = RasterKriging((90, 80), (-1.0, 1.0), survey, solver, drift=drift)
    with Stated() as mode:
        mean, variance = kriging.complete(given, Pixels(0, 0, 90, 80))
    assert mode.made or kriging.exact
    assert np.isfinite(mean).all()
    assert (variance >= 0).all()


def test_leave_one_out_and_points_too() -> None:
    given, survey = scene(0.5)
    kriging = RasterKriging((90, 80), (-1.0, 1.0), survey, Solver(MODEL), smooth=True)
    coords = np.random.default_rng(0).uniform(0, 50, (60, 2))
    with Stated():
        leave_one_out(kriging, given, Pixels(0, 0, 90, 80), (1.0, 1.0))
        for neighbours in ("all", 8):
            options = Options(dtype="float32", device="cpu")
            ready = PointKriging.of(
                coords, coords.sum(1), MODEL, errors=0.1, neighbours=neighbours, options=options
            )
            ready.predict(coords + 0.5)
            ready.leave_one_out()


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


def test_tensors_leave_the_device_only_through_cpu() -> None:
    """`.numpy()` of what may lie on a GPU is preceded by `.cpu()`: in modules that are handed a solver."""
    folder = Path(geonp.kriging.__file__).parent
    for name in ("exact", "local", "tiles", "raster", "board", "evidence", "scattered", "system"):
        tree = ast.parse((folder / f"{name}.py").read_text())
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "attr", "") == "numpy":
                before = ast.unparse(call.func.value)
                # Means and spreads of covariates are made on the CPU, before anything is sent.
                assert before.endswith(".cpu()") or before in ("shift[0]", "spread[0]"), f"{name}: {before}"
