"""One measurement, in a process of its own: `python -m geonp.benchmarks.speed.worker JOB.json`.

Seconds and memory are those of this process alone: nothing is left of a measurement for the next, neither modules
and threads nor memory that was given back late.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

_PLENTY = 1 << 30


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be measured.

    Parameters
    ----------
    method : of geonp, or a name of `PEERS`.
    peer : which of the two it is.
    survey, mean : files to read and to write.
    variance : file for the variance, or None.
    answer : file for the `Measured`, as JSON.
    command : where geonp's own command is, as `module:name`.
    device : that geonp's methods run on.
    memory : bytes of address space that may be taken.
    """

    method: str
    peer: bool
    survey: str
    mean: str
    variance: str | None
    answer: str
    command: str
    device: str
    memory: int


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of it.

    Parameters
    ----------
    start : seconds to import the packages.
    seconds, cpu : of the work, from file to file: by the clock, and of all processors together.
    loaded, peak : bytes in memory, after the imports and at most.
    failure : why there is no result, or None.
    """

    start: float
    seconds: float
    cpu: float
    loaded: int
    peak: int
    failure: str | None = None


def measure(load: Callable[[], Callable[[], object]]) -> Measured:
    """Time `load`, which imports and returns the work, and the work itself."""
    began = time.perf_counter()
    work = load()
    loaded, at = resident(), time.perf_counter()
    spent = time.process_time()
    failure = None
    try:
        work()
    except MemoryError:
        failure = "out of memory"
    except Exception as error:
        failure = (
            "out of memory" if "memory" in str(error).lower() else f"{type(error).__name__}: {error}"[:200]
        )
    done = time.perf_counter()
    return Measured(at - began, done - at, time.process_time() - spent, loaded, peak(), failure)


def resident() -> int:
    """Return the bytes that this process has in memory (the most so far, where the system does not say)."""
    return _status("VmRSS") or peak()


def peak() -> int:
    """Return the most bytes that this process had in memory.

    `getrusage` counts in what the parent had when it started this process, so the kernel's own mark comes first.
    """
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return _status("VmHWM") or most * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int | None:
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    found = [line.split()[1] for line in status.read_text().splitlines() if line.startswith(f"{name}:")]
    return int(found[0]) * 1024 if found else None


def _ours(job: Job) -> Callable[[], object]:
    module, _, name = job.command.partition(":")
    command = getattr(importlib.import_module(module), name)
    choose = importlib.import_module("geonp.methods.choose").choose
    choose(job.method)  # imports the method's module, and torch with it
    for each in ("geonp.predict", "geonp.io.geotiff"):
        importlib.import_module(each)
    out = ["--mean", job.mean] if job.variance is None else ["-o", job.mean, job.variance]
    words = ["predict", job.survey, *out, "--method", job.method, "--device", job.device, "-q"]
    return lambda: command.main(words, standalone_mode=False)


def _peers(job: Job) -> Callable[[], object]:
    import numpy as np
    import rasterio

    from geonp.benchmarks.speed.peers import PEERS

    peer = PEERS[job.method]
    for module in peer.modules:
        importlib.import_module(module)

    def work() -> None:
        with rasterio.open(job.survey) as file:
            bands, profile = file.read(), file.profile
        filled = [peer.fill(band) for band in bands]
        with rasterio.open(job.mean, "w", **profile) as file:
            file.write(np.stack([each.mean for each in filled]))
        if job.variance is not None:
            with rasterio.open(job.variance, "w", **profile) as file:
                file.write(np.stack([each.variance for each in filled if each.variance is not None]))

    return work


def main() -> None:
    """Read the job, measure, and write the answer."""
    job = Job(**json.loads(Path(sys.argv[1]).read_text()))
    if sys.platform == "linux":
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = job.memory if hard == resource.RLIM_INFINITY else min(job.memory, hard)
        resource.setrlimit(resource.RLIMIT_AS, (max(most, _PLENTY), hard))
    found = measure(lambda: _peers(job) if job.peer else _ours(job))
    Path(job.answer).write_text(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
