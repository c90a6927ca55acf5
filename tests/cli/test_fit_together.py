"""`geonp fit --devices 2`: one network, one voice, one end."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from geonp.io.checkpoint import read_checkpoint
from geonp.training import Record, Training

from .conftest import Geonp, write

COMMAND = [sys.executable, "-m", "geonp.cli", "fit"]
SMALL = ["--tile-size", "16", "--batch", "4", "--set", "channels=8", "--set", "latent=4", "--no-compare"]
LONG = ["--steps-per-epoch", "2", "--epochs", "40"]
WAIT = 300


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory, jacksboro: np.ndarray) -> Path:
    return write(tmp_path_factory.mktemp("tiles") / "dem.tif", jacksboro[:96, :96], nodata=np.nan)


def start(*arguments: object) -> subprocess.Popen[str]:
    """Start `geonp fit ARGUMENTS` as from a terminal of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def losses(log: Path) -> list[float]:
    with log.open(newline="") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def until_there(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + WAIT
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN, reason="started so that an interrupt is ignored"
)
def test_interrupted_in_two_processes_it_goes_on_in_one(geonp: Geonp, tiles: Path, tmp_path: Path) -> None:
    model, log, whole = tmp_path / "m.safetensors", tmp_path / "log.csv", tmp_path / "whole.csv"
    state = tmp_path / "m.safetensors.state"
    process = start(tiles, *SMALL, *LONG, "-o", model, "--log", log, "--devices", 2)
    until_there(state, process)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=WAIT)
    assert process.returncode == 130, told
    assert out == ""
    assert told.count("interrupted; go on with --resume") == 1
    assert "Traceback" not in told
    assert not model.exists()
    before = len(losses(log))
    assert 2 <= before < 80

    result = geonp("fit", tiles, *SMALL, *LONG, "-o", model, "--log", log, "--resume", "-q")
    assert result.exit_code == 0, result.stderr
    assert not state.exists()
    result = geonp("fit", tiles, *SMALL, *LONG, "-o", tmp_path / "w.safetensors", "--log", whole, "-q")
    assert result.exit_code == 0, result.stderr
    assert losses(log) == pytest.approx(losses(whole), rel=1e-3)
    assert len(losses(log)) == 80
    together, alone = (
        read_checkpoint(tmp_path / name).tensors for name in ("m.safetensors", "w.safetensors")
    )
    for name, tensor in alone.items():
        np.testing.assert_allclose(together[name], tensor, atol=5e-3)


def test_two_processes_write_one_model_and_one_object(tiles: Path, tmp_path: Path) -> None:
    model, log = tmp_path / "m.safetensors", tmp_path / "log.csv"
    short = ["--steps-per-epoch", 2, "--epochs", 2]
    process = start(tiles, *SMALL, *short, "-o", model, "--log", log, "--devices", 2, "--json")
    out, told = process.communicate(timeout=WAIT)
    assert process.returncode == 0, told
    shown = json.loads(out)
    assert (shown["processes"], shown["steps"], shown["precision"]) == (2, 4, "32-true")
    assert shown["pixels_per_second"] == pytest.approx(256 * shown["tasks_per_second"], rel=1e-2)
    assert [line.split(":")[0] for line in told.splitlines()] == ["step 2", "step 4"]
    assert "tasks/s" in told
    assert len(losses(log)) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.csv", "m.safetensors"]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_when_one_process_dies_all_end_and_one_line_says_so(tiles: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.safetensors"
    endless = ["--steps-per-epoch", 2, "--epochs", 100_000, "-q"]
    process = start(tiles, *SMALL, *endless, "-o", model, "--devices", 2)
    until_there(tmp_path / "m.safetensors.state", process)
    crew = members(process.pid)
    assert sorted(crew) == [0, 1]
    os.kill(crew[1], signal.SIGKILL)
    begun = time.monotonic()
    out, told = process.communicate(timeout=WAIT)
    assert time.monotonic() - begun < 60
    assert process.returncode == 1
    assert out == ""
    assert told.startswith("geonp: process 2 of 2 was killed by SIGKILL; the others were ended.")
    assert "--resume" in told
    assert len(told.splitlines()) == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in crew.values())
    assert (tmp_path / "m.safetensors.state").exists()


def test_a_mistake_that_all_make_is_told_once(tmp_path: Path) -> None:
    process = start(tmp_path / "none.tif", "-o", tmp_path / "m.safetensors", "--devices", 2)
    _, told = process.communicate(timeout=WAIT)
    assert process.returncode == 1, told
    assert len(told.splitlines()) == 1
    assert told.startswith("geonp: ")
    assert "none.tif" in told
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_is_too_small_is_answered_with_what_to_do(
    geonp: Geonp, tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Training) -> Iterator[Record]:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(Training, "run", full)
    result = geonp("fit", tiles, *SMALL, "-o", tmp_path / "m.safetensors", "--accumulate", 2, "-q")
    assert result.exit_code == 2
    assert "--accumulate 4" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_batch_that_cannot_be_shared_is_refused(geonp: Geonp, tiles: Path, tmp_path: Path) -> None:
    result = geonp("fit", tiles, *SMALL, "-o", tmp_path / "m.safetensors", "--accumulate", 3)
    assert result.exit_code == 2
    assert "a batch of 4 tiles cannot be cut into 3 equal parts" in result.stderr


def members(launcher: int) -> dict[int, int]:
    """Return the process ids of a launcher's crew by their rank."""
    found = {}
    for task in Path(f"/proc/{launcher}/task").iterdir():
        for child in (task / "children").read_text().split():
            pairs = Path(f"/proc/{child}/environ").read_bytes().decode().split("\0")
            variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
            found[int(variables["RANK"])] = int(child)
    return found
