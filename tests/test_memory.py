"""Budgets: what a run may take, which windows fit, and what is said when none does."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from geonp import machine, memory
from geonp.covariates import Laid
from geonp.errors import UsageError
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.exact import Exact
from geonp.memory import Budget, Work
from geonp.methods.base import Method
from geonp.methods.classical import Cubic, Nearest, Rbf
from geonp.methods.correction import Correction
from geonp.methods.covaried import Covaried
from geonp.methods.flagship import Flagship, Group, read_network
from geonp.methods.kriging import Kriging
from geonp.methods.regression import Regression
from geonp.methods.trial import Verdict
from geonp.predict import begin, collect, complete
from tests.test_predict import LocalMean, holey

LARGE = (20_000, 20_000)
MB, GB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "used_memory", lambda: 400 * MB)


@dataclass(frozen=True)
class Wide(LocalMean):
    """Reads far around its windows."""

    radius: int = 150


def test_memory_is_given_or_a_quarter_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 4 * GB)
    assert Budget.of(None) == Budget(400 * MB + GB, stated=False)
    monkeypatch.setattr(memory, "free_memory", lambda: 64 * GB)
    assert Budget.of(None) == Budget(400 * MB + 1_500_000_000, stated=False)
    assert Budget.of(GB) == Budget(GB, stated=True)
    assert Budget.of(GB).share == GB // 4
    with pytest.raises(UsageError, match="too few"):
        Budget.of(12)


@pytest.mark.parametrize("method", [Cubic(), Nearest(), LocalMean(), LocalMean(overlap=9), None])
def test_windows_are_the_largest_usual_ones_that_fit(method: Method | None) -> None:
    work = Work(method, LARGE, 1)
    chosen = [work.choose(Budget(total, stated=False)) for total in (500 * MB, 700 * MB, GB, 64 * GB)]
    assert chosen == sorted(chosen)
    assert chosen[-1] in (1024, 2048)
    for total, tile in zip((700 * MB, GB), chosen[1:3], strict=True):
        room = total - 400 * MB - Budget(total, stated=False).blocks
        assert tile == 128 or work.bytes_needed(tile) <= room
        assert tile >= 1024 or work.bytes_needed(2 * tile) > room


def test_windows_are_larger_where_most_work_is_around_them() -> None:
    plenty = Budget(64 * GB, stated=False)
    assert Work(Wide(), LARGE, 1).choose(plenty) == 2048
    assert Work(Wide(overlap=16), LARGE, 1).choose(plenty) == 1024  # blended: as usual wherever they fit
    assert Work(Wide(), LARGE, 1).choose(plenty, 300) == 300


def test_more_bands_and_larger_windows_need_more() -> None:
    for method in (Cubic(), Nearest(), LocalMean(), Wide()):
        one, three = Work(method, LARGE, 1), Work(method, LARGE, 3)
        needed = [one.bytes_needed(tile) for tile in (128, 256, 512, 1024)]
        assert needed == sorted(needed)
        assert all(three.bytes_needed(tile) > one.bytes_needed(tile) for tile in (128, 1024))
    small = Work(Cubic(), (50, 60), 1)
    assert small.bytes_needed(128) == small.bytes_needed(1024)


def test_a_method_around_another_needs_what_that_one_does() -> None:
    rasters = xr.DataArray(np.zeros((1, 70, 80), "f4"), dims=("band", "y", "x"))
    laid = Laid(("dem",), rasters, (0.0,), (0.0,))
    for base in (Cubic(), Nearest(), Rbf(), LocalMean()):
        rest = Regression(base=base, covariates=laid)
        around = Covaried(base=base, rasters=(rasters,), informed=rest, plain=base)
        for tile in (128, 1024):
            needed = Work(base, LARGE, 1).bytes_needed(tile)
            assert Work(rest, LARGE, 1).bytes_needed(tile) == needed
            assert Work(around, LARGE, 1).bytes_needed(tile) == needed


def test_memory_does_not_grow_with_the_rows() -> None:
    for method in (LocalMean(), LocalMean(overlap=5), Cubic()):
        short, long = (Work(method, (rows, 5000), 1).bytes_needed(512) for rows in (5000, 5_000_000))
        assert short == long


def test_what_cannot_fit_is_refused_with_a_way_out_that_works() -> None:
    work = Work(Cubic(), (20_000, 2_000), 1)
    with pytest.raises(
        UsageError, match=r"--memory allows 524 MB; make the windows smaller \(--tile"
    ) as told:
        work.choose(Budget(500 * MB, stated=True), 1024)
    smaller = int(str(told.value).split("--tile ")[1].split(")")[0])
    assert work.choose(Budget(500 * MB, stated=True), smaller) == smaller
    enough = int(str(told.value).split("--memory ")[-1].split("M")[0])
    assert work.choose(Budget(enough * MB, stated=True), 1024) == 1024
    with pytest.raises(UsageError, match=r"allows 210 MB; allow more \(--memory"):
        work.choose(Budget(200 * MB, stated=True))
    assert work.choose(Budget(200 * MB, stated=False)) == 128  # nobody asked for it: as little as can be


@pytest.mark.filterwarnings("ignore:band 1. pure nugget:geonp.errors.GeonpWarning")
def test_a_prepared_kriging_tells_its_own_needs() -> None:
    field = holey((1, 60, 60))
    ready = begin(field, Kriging(), tile=32)
    kriging = ready.method
    assert isinstance(kriging, Kriging)
    assert ready.bytes_needed() > kriging.bytes_needed(32) > 0


@pytest.mark.filterwarnings("ignore::geonp.errors.GeonpWarning")
def test_windows_of_a_pixel_do_not_each_cost_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window solved the system of all observations anew, and predicted 64 x 64 pixels for the one it wanted."""
    solved = []
    of = Exact.of
    monkeypatch.setattr(Exact, "of", lambda *given: solved.append(1) or of(*given))
    covariance = Covariance((Structure("matern32", 1.0, 9.0),), 0.01)
    field = holey((1, 70, 20), seed=3)
    ready = begin(field, Kriging(covariance=covariance), tile=1)
    assert ready.method.bands[0].exact
    assert ready.tile == ready.method.grain == 32
    done = collect(ready, ready, status=False)
    assert len(solved) == len(ready.windows()) == 3
    np.testing.assert_array_equal(done["mean"], complete(field, Kriging(covariance=covariance))["mean"])


def test_windows_are_no_smaller_than_makes_sense() -> None:
    plenty = Budget(64 * GB, stated=False)
    assert Work(Wide(), LARGE, 1).choose(plenty, 1) == 150 // 8
    assert Work(LocalMean(), LARGE, 1).choose(plenty, 1) == 1
    assert Work(None, LARGE, 1).choose(plenty, 1) == 1
    network = Flagship(correction=Correction(read_network()), groups=(Group((), (), Verdict(), alone=None),))
    assert Work(network, LARGE, 1).choose(plenty, 1) == network.correction.stride


def test_the_budget_does_not_change_the_result() -> None:
    field = holey((300, 280))
    with pytest.raises(UsageError, match="--memory allows"):
        complete(field, LocalMean(), memory=100 * MB)
    small, plenty = (complete(field, LocalMean(), memory=total) for total in (480 * MB, 8 * GB))
    np.testing.assert_allclose(small["mean"], plenty["mean"], rtol=1e-6)


def test_the_machine_tells_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert machine.cores() >= 1
    assert machine.free_memory() > 0
    assert machine.used_memory() > MB
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    alone, free = machine.cores(), machine.free_memory()
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert machine.cores() == 1
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert machine.cores() == alone
    (tmp_path / "memory.max").write_text("3000000\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    assert machine.free_memory() == 2_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.free_memory() > min(free // 2, 2_000_001)
    for name in ("_MEMINFO", "_STATM"):
        monkeypatch.setattr(machine, name, tmp_path / "nothing")
    assert machine.used_memory() == 0
    assert machine.free_memory() > 0
