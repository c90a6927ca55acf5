"""What is measured, and how far: as many sizes as a budget of time allows, and never more."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from geonp.benchmarks.speed.peers import PEERS
from geonp.benchmarks.speed.record import Axis, Outcome, Point, Record, this_machine
from geonp.benchmarks.speed.scene import Scene, side_of
from geonp.benchmarks.speed.score import score
from geonp.benchmarks.speed.worker import Job, Measured
from geonp.methods import METHODS

MEMORY = 8 * 1024**3


class Contestant(NamedTuple):
    """A method: its name in geonp or in `PEERS`, which of the two, and how many parts of the time it is given."""

    name: str
    peer: bool
    parts: float = 1.0

    @property
    def has_variance(self) -> bool:
        """Whether it gives a variance."""
        return (PEERS if self.peer else METHODS)[self.name].has_variance


_SLOW = ("SciPy RBFInterpolator", "PyKrige")
CONTESTANTS = (
    *(Contestant(name, False) for name in ("nearest", "fillnodata", "linear", "cubic", "idw")),
    Contestant("rbf", False, 2.0),
    Contestant("kriging", False, 5.0),
    Contestant("bundled", False, 8.0),
    *(Contestant(name, True, 2.0 if name in _SLOW else 1.0) for name in PEERS),
)
"""Left out of geonp's methods: `inr`, which is fitted for minutes whatever the size; `bicubic`, which is `cubic`
where pixels are seen at random; `pykrige`, which stands here as itself; `neural`, a model of one's own."""

_POWERS = (4, 5, 6, 6.5, 7, 7.5, 8)
_STOP_EARLY = 0.98
# What every run pays, however small, makes linear growth look a little worse than it is.
_OPTIMISM = 0.9
UNTRAINED = "not trained, not scored"


class Stage(NamedTuple):
    """Scenes that grow along an axis, and the part of the budget that they may take."""

    axis: Axis
    scenes: tuple[Scene, ...]
    part: float


_OBSERVED_SIDE, _BANDS_SIDE = 400, 250
STAGES = (
    Stage(Axis.BANDS, tuple(Scene(_BANDS_SIDE, bands=n) for n in (1, 3, 8)), 0.15),
    Stage(Axis.OBSERVATIONS, tuple(Scene(_OBSERVED_SIDE, 10**k / _OBSERVED_SIDE**2) for k in (3, 4, 5)), 0.2),
    Stage(Axis.PIXELS, tuple(Scene(side_of(10**k)) for k in _POWERS), 1.0),
)
"""Each stage may take its part of the time that is left; what it does not need is left to the next."""


@dataclass(frozen=True)
class Setting:
    """How the suite is run.

    Parameters
    ----------
    budget : seconds; the run is over before they are.
    command : where geonp's own command is, as `module:name`.
    device : that geonp's methods run on.
    contestants : what is measured.
    stages : what grows.
    memory : bytes that a measurement may take.
    """

    budget: float
    command: str
    device: str = "auto"
    contestants: tuple[Contestant, ...] = CONTESTANTS
    stages: tuple[Stage, ...] = STAGES
    memory: int = MEMORY


def run(setting: Setting, tell: Callable[[str], None]) -> Record:
    """Measure, stage by stage and from small to large, until the budget is spent."""
    load = f"{os.getloadavg()[0]:.1f} before the run"
    began = time.monotonic()
    end = began + setting.budget * _STOP_EARLY
    points: list[Point] = []
    with tempfile.TemporaryDirectory(prefix="geonp-speed-") as folder:
        for stage in setting.stages:
            now = time.monotonic()
            until = now + (end - now) * stage.part
            for point in _Climb(stage, setting, Path(folder), until):
                points.append(point)
                tell(_line(point))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    took = time.monotonic() - began
    return Record(made, setting.budget, took, this_machine(_versions(), load), tuple(points))


class _Climb:
    """Goes from size to size of one stage, with those methods that are still in the race."""

    def __init__(self, stage: Stage, setting: Setting, folder: Path, until: float) -> None:
        self._stage, self._setting, self._folder, self._until = stage, setting, folder, until
        self._last: dict[Contestant, Point] = {}
        self._racing = list(setting.contestants)
        self._pace = 0.0  # seconds a pixel to write a survey

    def __iter__(self) -> Iterator[Point]:
        for one in self._setting.contestants:
            if one.peer and not PEERS[one.name].installed():
                self._racing.remove(one)
                yield self._point(one, self._stage.scenes[0], Outcome.ABSENT)
        survey = self._folder / "survey.tif"
        for scene in self._stage.scenes:
            while hopeless := self._hopeless(scene):
                self._racing.remove(hopeless)
                yield self._point(hopeless, scene, Outcome.STOPPED)
            if not self._racing:
                return
            if (observed := self._written(scene, survey)) is None:
                for one in self._racing:
                    yield self._point(one, scene, Outcome.STOPPED)
                return
            for one in tuple(self._racing):
                point = self._measure(one, scene, observed, survey, self._limit(one))
                if point.outcome is Outcome.DONE:
                    self._last[one] = point
                else:
                    self._racing.remove(one)
                yield point

    def _written(self, scene: Scene, survey: Path) -> int | None:
        """Write the survey and return how many pixels were seen; None where there is no time for it."""
        pixels = scene.pixels * scene.bands
        began = time.monotonic()
        if began + 2 * self._pace * pixels > self._until:
            return None
        observed = scene.write(survey)
        self._pace = (time.monotonic() - began) / pixels
        return observed

    def _hopeless(self, scene: Scene) -> Contestant | None:
        """Return the method that would exceed its time the most, if any would; the others then have more."""
        over = {one: self._expected(one, scene) - self._limit(one) for one in self._racing}
        worst = max(over, key=lambda one: over[one], default=None)
        return None if worst is None or over[worst] < 0 else worst

    def _limit(self, one: Contestant) -> float:
        """Return the seconds that a method may take: its parts of what is left for all that still race."""
        parts = sum(each.parts for each in self._racing)
        return max(self._until - time.monotonic(), 0.0) * one.parts / parts

    def _expected(self, one: Contestant, scene: Scene) -> float:
        """Return the seconds that a method takes at least, its time being no less than linear in the pixels."""
        last = self._last.get(one)
        if last is None or last.seconds is None or last.start is None:
            return 0.0
        growth = scene.pixels * scene.bands / (last.pixels * last.bands)
        return last.start + last.seconds * growth * _OPTIMISM

    def _measure(self, one: Contestant, scene: Scene, observed: int, survey: Path, limit: float) -> Point:
        point = self._point(one, scene, Outcome.STOPPED, observed)
        if self._expected(one, scene) >= limit:
            return point
        # What a run leaves behind that is killed must not be in the way of the next.
        with tempfile.TemporaryDirectory(dir=self._folder) as folder:
            mean, variance, answer = (
                Path(folder) / name for name in ("mean.tif", "variance.tif", "answer.json")
            )
            job = Job(
                method=one.name,
                peer=one.peer,
                survey=str(survey),
                mean=str(mean),
                variance=str(variance) if one.has_variance else None,
                answer=str(answer),
                command=self._setting.command,
                device=self._setting.device,
                memory=self._setting.memory,
            )
            found = in_a_process(job, limit)
            point = replace(point, limit=limit)
            if found is None:
                return point
            if found.failure is not None:
                return replace(
                    point, outcome=Outcome.FAILED, note=found.failure, start=found.start, peak=found.peak
                )
            measured = asdict(found)
            del measured["failure"]
            point = replace(point, outcome=Outcome.DONE, **measured)
            if one.peer and not PEERS[one.name].trained:
                return replace(point, note=UNTRAINED)
            return replace(
                point, **asdict(score(scene, survey, mean, variance if one.has_variance else None))
            )

    def _point(self, one: Contestant, scene: Scene, outcome: Outcome, observed: int | None = None) -> Point:
        count = round(scene.observed * scene.pixels) if observed is None else observed
        return Point(self._stage.axis, one.name, one.peer, scene.pixels, count, scene.bands, outcome)


def in_a_process(job: Job, limit: float) -> Measured | None:
    """Measure in a process of its own; None where it is not done within `limit` seconds and had to be killed."""
    answer = Path(job.answer)
    answer.unlink(missing_ok=True)
    given = answer.with_suffix(".job.json")
    given.write_text(json.dumps(asdict(job)))
    command = [sys.executable, "-W", "ignore", "-m", "geonp.benchmarks.speed.worker", str(given)]
    silent = subprocess.DEVNULL
    with subprocess.Popen(
        command, start_new_session=True, stdin=silent, stdout=silent, stderr=silent
    ) as process:
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if not answer.exists():
        # Nothing was said: the system killed it, as it does where memory runs out.
        return Measured(0.0, 0.0, 0.0, 0, 0, f"the process ended with code {process.returncode}")
    return Measured(**json.loads(answer.read_text()))


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in sorted({peer.distribution for peer in PEERS.values()}):
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append((name, "not installed"))
    return found


def _line(point: Point) -> str:
    told = f"{point.axis} {point.size:,}: {point.method}: {point.note or point.outcome}"
    if point.seconds is not None and point.peak is not None and point.outcome is Outcome.DONE:
        told = f"{point.axis} {point.size:,}: {point.method}: {point.seconds:.2f} s, {point.peak / 1024**2:,.0f} MiB"
    return told + (f", CRPS {point.crps:.3f}" if point.crps is not None else "")
