"""Windows on a real cluster: the same bytes, one method a worker, and what happens when things go wrong."""

import json
import socket
import sys
import time
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from click.testing import CliRunner
from distributed import Client, LocalCluster
from geonp.cli import main

import geonp
from geonp import cluster as clusters
from geonp.errors import GeonpError, GeonpWarning, UsageError
from geonp.kriging.arrays import PROCESSOR, Device
from geonp.kriging.covariance import Covariance, Structure
from geonp.methods.classical import Cubic
from geonp.methods.kriging import Kriging
from geonp.predict import begin
from tests.cli.conftest import write
from tests.cluster.methods import Troubled


def test_the_result_is_that_of_one_machine(survey: xr.DataArray, client: Client) -> None:
    for method in (Cubic(), Troubled(times=0, folder=".", overlap=5)):
        variance = method.has_variance
        here = geonp.complete(survey, method, variance=variance, status=True, tile=32)
        there = clusters.complete(survey, method, client=client, variance=variance, status=True, tile=32)
        xr.testing.assert_identical(there, here)


def test_every_worker_unpacks_the_method_once(survey: xr.DataArray, client: Client) -> None:
    def unpacked(forget: bool) -> int:
        from geonp.cluster import _unpacked

        if forget:
            _unpacked.cache_clear()
        return _unpacked.cache_info().misses

    client.run(unpacked, True)
    model = Covariance((Structure("matern32", 900.0, 600.0),), 4.0)
    clusters.complete(survey[:40, :48], Kriging(covariance=model, neighbours=12), client=client, tile=24)
    assert max(client.run(unpacked, False).values()) == 1


def test_windows_are_handed_out_a_few_at_a_time_and_full_ones_not_at_all(
    survey: xr.DataArray, client: Client
) -> None:
    full = survey.fillna(1.0)
    half = xr.concat([full[:48], survey[48:]], dim="y").expand_dims("band")
    ready = begin(half, Troubled(times=0, folder="."), tile=8)
    windows = ready.windows()
    assert len(windows) == 120
    known = set(client.futures)
    steps = clusters.Workers(client).completed(ready, windows)
    most = 0
    for number, layers in enumerate(steps):
        under_way = {key for key in client.futures if "geonp-window" in key} - known
        most = max(most, len(under_way))
        assert layers.window == windows[number]
        if number < 50:
            assert not under_way
        if number == 70:
            break
    assert 2 <= most <= 2 * 2 + 1
    steps.close()
    deadline = time.monotonic() + 30
    while any("geonp" in key for key in client.futures) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any("geonp" in key for key in client.futures)


def test_a_window_that_fails_now_and_then_is_tried_again(
    survey: xr.DataArray, client: Client, tmp_path: Path
) -> None:
    expected = geonp.complete(survey, Troubled(times=0, folder=str(tmp_path)), tile=32)
    unlucky = Troubled(times=2, folder=str(tmp_path))
    xr.testing.assert_identical(clusters.complete(survey, unlucky, client=client, tile=32), expected)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_window_that_keeps_failing_ends_the_run_or_is_masked(survey: xr.DataArray, client: Client) -> None:
    with pytest.raises(
        GeonpError, match=r"rows 32 to 64 and columns 32 to 64 failed \(RuntimeError: too hot\)"
    ):
        clusters.complete(survey, Troubled(), client=client, tile=32)
    expected = geonp.complete(survey, Troubled(times=0, folder="."), status=True, tile=32)
    with pytest.warns(GeonpWarning, match="rows 32 to 64.*too hot.*masked"):
        done = clusters.complete(survey, Troubled(), client=client, status=True, tile=32, keep_going=True)
    failed = np.zeros(survey.shape, bool)
    failed[32:64, 32:64] = True
    for name in ("mean", "variance"):
        assert np.isnan(done[name].values[0][failed]).all()
        np.testing.assert_array_equal(done[name].values[0][~failed], expected[name].values[0][~failed])
    assert (done["status"].values[0][failed] == 0).all()
    np.testing.assert_array_equal(done["status"].values[0][~failed], expected["status"].values[0][~failed])


def test_what_a_failed_window_shares_with_others_is_masked_too(survey: xr.DataArray, client: Client) -> None:
    with pytest.warns(GeonpWarning, match="masked"):
        done = clusters.complete(
            survey, Troubled(overlap=4), client=client, status=True, tile=32, keep_going=True
        )
    lost = np.isnan(done["mean"].values)
    assert lost[0, 28:68, 28:68].all()
    assert lost.sum() == 40 * 40
    np.testing.assert_array_equal(done["status"].values == 0, lost)


def test_workers_killed_in_mid_run_are_replaced(survey: xr.DataArray, client: Client, tmp_path: Path) -> None:
    expected = geonp.complete(survey, Troubled(times=0, folder=str(tmp_path)), tile=32)
    before = set(client.run(pid).values())
    deadly = Troubled(trouble="kill", times=1, folder=str(tmp_path))
    xr.testing.assert_identical(clusters.complete(survey, deadly, client=client, tile=32), expected)
    client.wait_for_workers(2, timeout=120)
    assert len(before - set(client.run(pid).values())) == 1


def test_a_window_that_kills_every_worker_is_named(survey: xr.DataArray, client: Client) -> None:
    deadly = Troubled(trouble="kill")
    with pytest.warns(GeonpWarning, match=r"rows 32 to 64.*KilledWorker"):
        done = clusters.complete(survey, deadly, client=client, tile=32, keep_going=True)
    assert int(done["mean"].isnull().sum()) == 32 * 32
    client.wait_for_workers(2, timeout=120)


def test_a_window_is_not_blamed_for_the_death_of_a_worker_that_another_killed(survey: xr.DataArray) -> None:
    settings = {"distributed.scheduler.allowed-failures": 0}
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as lonely,
        Client(lonely, set_as_default=False) as client,
        pytest.warns(GeonpWarning, match=r"rows 32 to 64 and columns 32 to 64.*KilledWorker") as told,
    ):
        done = clusters.complete(survey, Troubled(trouble="kill"), client=client, tile=32, keep_going=True)
    assert len([note for note in told if note.category is GeonpWarning]) == 1
    assert int(done["mean"].isnull().sum()) == 32 * 32


def pid() -> int:
    import os

    return os.getpid()


def test_dask_arrays_are_computed_by_the_client_that_is_active(
    survey: xr.DataArray, cluster: LocalCluster
) -> None:
    here = survey.geonp.complete("nearest", variance=False, tile=32)
    with Client(cluster) as active:
        there = survey.chunk({"y": 32, "x": 32}).geonp.complete("nearest", variance=False, tile=32)
        xr.testing.assert_identical(there.compute(), here)
        bare = survey.drop_vars(["y", "x", "spatial_ref"]).chunk({"y": 48})
        lazy = bare.geonp.complete("nearest", variance=False)
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always", GeonpWarning)
            lazy.compute()
            deadline = time.monotonic() + 20
            while not notes and time.monotonic() < deadline:
                time.sleep(0.05)
        assert any("distances are measured in pixels" in str(note.message) for note in notes)
        done = clusters.complete(survey, Troubled(times=0, folder="."), tile=48)
        assert bool(done["mean"].notnull().all())
        assert active.status == "running"


def test_what_is_missing_is_said(
    survey: xr.DataArray, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="no dask client is active"):
        clusters.complete(survey, Cubic(), variance=False)
    monkeypatch.setattr(clusters, "__version__", "0.0.1")
    with pytest.raises(UsageError, match=r"has geonp .*, and this is 0\.0\.1"):
        clusters.complete(survey, Cubic(), client=client, variance=False)
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"pip install 'geonp\[cluster\]'"):
        clusters.complete(survey, Cubic(), variance=False)


def test_no_scheduler_no_worker_no_hang(monkeypatch: pytest.MonkeyPatch, survey: xr.DataArray) -> None:
    monkeypatch.setattr(clusters, "_CONNECTING", 1.0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(UsageError, match="no dask scheduler answers"), clusters.connected(address):
            pass
    for wrong in ("nonsense://host:1", "tcp://127.0.0.1:notaport"):
        with pytest.raises(UsageError, match="no dask scheduler answers"), clusters.connected(wrong):
            pass
    monkeypatch.setattr(clusters, "_STARTING", 0.2)
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as empty,
        clusters.connected(empty.scheduler_address) as idle,
        pytest.raises(UsageError, match="has no workers"),
    ):
        clusters.Workers(idle)


def test_a_cluster_that_disappears_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, survey: xr.DataArray
) -> None:
    monkeypatch.setattr(clusters, "_PATIENCE", 0.5)
    monkeypatch.setattr(clusters, "_LOOK", 0.1)
    ready = begin(survey.expand_dims("band"), Troubled(trouble="sleep", row=0, col=0), tile=48)
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as going, Client(going) as idle:
        steps = clusters.Workers(idle).completed(ready, ready.windows())
        going.scale(0)
        with pytest.raises(GeonpError, match=r"no worker for|lost"):
            next(steps)


def test_everything_that_a_method_holds_moves_to_the_device_of_the_worker(survey: xr.DataArray) -> None:
    model = Covariance((Structure("matern32", 900.0, 600.0),), 4.0)
    ready = begin(survey.expand_dims("band"), Kriging(covariance=model, device="cpu"))
    assert clusters.device_of(ready) == "cpu"
    nowhere = Device(torch.device("meta"))
    moved = clusters.moved(ready.method, nowhere)
    assert [band.solver.device for band in moved.bands] == [nowhere]
    assert [band.solver.device for band in ready.method.bands] == [PROCESSOR]
    assert clusters.moved(moved, PROCESSOR).bands[0].solver.device == PROCESSOR
    layer, place = clusters.moved((torch.nn.Linear(2, 2), torch.device("cpu")), nowhere)
    assert (layer.weight.device.type, place.type) == ("meta", "meta")
    assert clusters.moved((layer, "as it is"), nowhere) == (layer, "as it is")
    assert clusters.device_of(begin(survey.expand_dims("band"), Cubic(), variance=False)) is None


def run(*args: object) -> tuple[int, str, str]:
    with warnings.catch_warnings():
        result = CliRunner().invoke(main, [str(arg) for arg in args])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_command_line(
    survey: xr.DataArray, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "survey.tif", survey.values, nodata=float("nan"))
    asked = ["predict", "survey.tif", "--method", "cubic", "--tile", "32", "--json"]
    assert run(*asked, "--mean", "here.tif")[0] == 0
    code, out, _ = run(*asked, "--mean", "there.tif", "--scheduler", cluster.scheduler_address)
    assert code == 0
    told = json.loads(out)
    assert (told["workers"], told["failed_windows"], told["method"]) == (2, 0, "cubic")
    assert Path("here.tif").read_bytes() == Path("there.tif").read_bytes()
    code, _, said = run(*asked, "--mean", "again.tif", "--scheduler", "nonsense://host:1")
    assert code == 2
    assert "no dask scheduler answers" in said
    assert run(*asked, "--mean", "again.tif", "--keep-going")[0] == 2
    code, _, said = run(
        *asked, "--mean", "again.tif", "--keep-going", "--resume", "--scheduler", "tcp://host:1"
    )
    assert code == 2
    assert "leave one of them out" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.tif", "survey.tif", "there.tif"]


def test_the_command_line_with_a_window_that_keeps_failing(
    survey: xr.DataArray, cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "survey.tif", survey.values, nodata=float("nan"))
    monkeypatch.setattr("geonp.methods.choose.choose", lambda *_, **__: Troubled())
    asked = ["predict", "survey.tif", "-o", "mean.tif", "var.tif", "--tile", "32", "--scheduler"]
    code, _, said = run(*asked, cluster.scheduler_address)
    assert code == 1
    assert "geonp: the window of rows 32 to 64" in said
    assert "--keep-going" in said
    assert [path.name for path in tmp_path.iterdir()] == ["survey.tif"]
    code, _, said = run(*asked, cluster.scheduler_address, "--keep-going")
    assert code == 0
    assert "note: the window of rows 32 to 64 and columns 32 to 64 failed" in said
    with rasterio.open("mean.tif") as mean:
        masked = mean.read_masks(1) == 0
    assert masked[32:64, 32:64].all()
    assert masked.sum() == 32 * 32
