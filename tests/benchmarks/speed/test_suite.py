"""Measurements are processes of their own, sizes keep to the budget, and peers do what they are said to do."""

import time
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from geonp.benchmarks.speed import suite
from geonp.benchmarks.speed.peers import PEERS, Peer
from geonp.benchmarks.speed.record import Axis, Outcome
from geonp.benchmarks.speed.scene import Scene
from geonp.benchmarks.speed.suite import Contestant, Setting, Stage, in_a_process, run
from geonp.benchmarks.speed.worker import Job, Measured, measure
from geonp.field import Window

COMMAND = "geonp.cli:main"


def job(folder: Path, method: str, *, peer: bool, variance: bool = False, **changes: object) -> Job:
    survey = folder / "survey.tif"
    if not survey.exists():
        Scene(40).write(survey)
    given: dict[str, object] = {
        "method": method,
        "peer": peer,
        "survey": str(survey),
        "mean": str(folder / "mean.tif"),
        "variance": str(folder / "variance.tif") if variance else None,
        "answer": str(folder / "answer.json"),
        "command": COMMAND,
        "device": "cpu",
        "memory": suite.MEMORY,
        **changes,
    }
    return Job(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("method", "peer"), [("nearest", False), ("rasterio fillnodata", True)])
def test_a_measurement_is_a_process(tmp_path: Path, method: str, peer: bool) -> None:
    found = in_a_process(job(tmp_path, method, peer=peer), 120)
    assert found is not None
    assert found.failure is None
    assert found.start > 0
    assert found.seconds > 0
    assert 2**24 < found.loaded <= found.peak < 2**31
    assert (tmp_path / "mean.tif").exists()


def test_what_takes_too_long_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    assert in_a_process(job(tmp_path, "nearest", peer=False), 0.05) is None
    assert time.monotonic() - began < 5
    assert not (tmp_path / "mean.tif").exists()


def test_a_process_that_says_nothing_has_failed(tmp_path: Path) -> None:
    found = in_a_process(job(tmp_path, "no such peer", peer=True), 60)
    assert found is not None
    assert found.failure == "the process ended with code 1"


def test_work_is_timed_apart_from_its_imports() -> None:
    def load() -> object:
        time.sleep(0.05)
        return lambda: sum(range(3 * 10**6))

    found = measure(load)  # type: ignore[arg-type]
    assert 0.05 <= found.start < 1
    assert found.cpu > 0
    assert found.loaded <= found.peak


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), "out of memory"),
        (ValueError("singular"), "ValueError: singular"),
    ],
)
def test_a_failure_is_told(error: Exception, said: str) -> None:
    def work() -> None:
        raise error

    assert measure(lambda: work).failure == said


def test_memory_that_is_taken_and_given_back_shows() -> None:
    def work() -> None:
        np.ones(60 * 2**20, np.uint8).sum()

    found = measure(lambda: work)
    assert found.peak - found.loaded >= 50 * 2**20 or found.peak > 2**29  # or the tests had more before


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, float]]:
    """Measurements that take 1 microsecond a pixel of `nearest` and 10 of `kriging`, on a clock that says so."""
    now = [0.0]
    done: list[tuple[str, int, float]] = []
    paces = {"nearest": 1e-6, "kriging": 1e-5, "PyKrige": 1e-3}

    def in_a_process(job: Job, limit: float) -> Measured | None:
        side = int(Path(job.survey).read_text())
        took = paces[job.method] * side**2
        done.append((job.method, side**2, limit))
        now[0] += min(1 + took, limit)
        return Measured(1.0, took, took, 10, 20) if 1 + took <= limit else None

    def write(scene: Scene, path: Path) -> int:
        path.write_text(str(scene.side))
        return 7

    monkeypatch.setattr(suite, "in_a_process", in_a_process)
    monkeypatch.setattr(suite, "score", lambda *_: suite_score())
    monkeypatch.setattr(Scene, "write", write)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return done


def suite_score() -> object:
    from geonp.benchmarks.speed.score import Score

    return Score(1, 0.0, 2.0, 1.5, 1.0, None)


def stages(*sides: int) -> tuple[Stage, ...]:
    return (Stage(Axis.PIXELS, tuple(Scene(side) for side in sides), 1.0),)


CONTESTANTS = (Contestant("nearest", False), Contestant("kriging", False, 2.0), Contestant("PyKrige", True))


@pytest.mark.parametrize("budget", [20.0, 60.0, 300.0, 5000.0])
def test_the_budget_is_kept_and_used(clock: list[tuple[str, int, float]], budget: float) -> None:
    told: list[str] = []
    setting = Setting(budget, COMMAND, contestants=CONTESTANTS, stages=stages(100, 316, 1000, 3162, 10_000))
    found = run(setting, told.append)
    assert found.took <= budget
    assert len(told) == len(found.points)
    largest = {
        name: max((p.pixels for p in found.of(Axis.PIXELS, name) if p.outcome is Outcome.DONE), default=0)
        for name in found.methods()
    }
    assert largest["nearest"] >= largest["kriging"] >= largest["PyKrige"]
    if budget == 300:
        assert largest == {"nearest": 10**8, "kriging": 3162**2, "PyKrige": 100**2}
    for name in found.methods():
        outcomes = [p.outcome for p in found.of(Axis.PIXELS, name)]
        assert Outcome.STOPPED not in outcomes[:-1]  # nothing is tried after a stop
    # What is hopeless is not begun: linear growth from the last size says so.
    assert all(
        1e-3 * pixels * 0.9 < limit for name, pixels, limit in clock if name == "PyKrige" and pixels > 10**4
    )


def test_a_package_that_is_not_there_is_told_and_left_out(
    clock: list[tuple[str, int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = Peer("pykrige", ("no_such_package.ok",), True, PEERS["PyKrige"].fill, "not there")
    monkeypatch.setattr(suite, "PEERS", MappingProxyType({"PyKrige": gone}))
    found = run(Setting(60, COMMAND, contestants=CONTESTANTS, stages=stages(100)), lambda line: None)
    assert [(p.method, p.outcome) for p in found.points] == [
        ("PyKrige", Outcome.ABSENT),
        ("nearest", Outcome.DONE),
        ("kriging", Outcome.DONE),
    ]
    assert {name for name, _, _ in clock} == {"nearest", "kriging"}


def test_the_sizes_are_those_that_were_promised() -> None:
    pixels = [s.pixels for stage in suite.STAGES if stage.axis is Axis.PIXELS for s in stage.scenes]
    assert pixels[1] == pytest.approx(1e5, rel=0.01)
    assert pixels[-1] == 10**8
    assert pixels == sorted(pixels)
    assert {c.name for c in suite.CONTESTANTS if c.peer} == set(PEERS)


@pytest.mark.parametrize(
    "name", ["SciPy griddata, linear", "SciPy RBFInterpolator", "rasterio fillnodata", "PyKrige", "GSTools"]
)
def test_a_peer_completes_a_hill_and_keeps_what_was_seen(name: str) -> None:
    peer = PEERS[name]
    if not peer.installed():
        pytest.skip(f"{peer.distribution} is not installed")
    y, x = np.mgrid[:24, :30] / 6
    truth = (100 * np.sin(y) * np.cos(x)).astype("f4")
    seen = np.random.default_rng(0).random(truth.shape) < 0.3
    filled = peer.fill(np.where(seen, truth, np.float32(np.nan)))
    known = np.isfinite(filled.mean)
    assert known.mean() > 0.9
    np.testing.assert_array_equal(filled.mean[seen], truth[seen])
    assert np.abs(filled.mean - truth)[known].mean() < 0.2 * truth.std()
    assert (filled.variance is not None) == peer.has_variance
    if filled.variance is not None:
        assert (filled.variance[~seen] > 0).all()
        assert (filled.variance[seen] == 0).all()


def test_deepsensors_engine_gives_a_grid() -> None:
    peer = PEERS["DeepSensor's engine"]
    if not peer.installed():
        pytest.skip("neuralprocesses is not installed")
    band = Scene(40).elevation(Window.whole((40, 40)))[0]
    seen = np.random.default_rng(0).random(band.shape) < 0.2
    filled = peer.fill(np.where(seen, band, np.float32(np.nan)))
    assert filled.mean.shape == band.shape
    assert filled.variance is not None
    assert (filled.variance > 0).all()
