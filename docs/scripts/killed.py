"""Kill `geonp predict --resume` (SIGKILL) at random moments, let it go on, and compare the outputs byte for byte.

Run `python docs/scripts/killed.py --method kriging --kills 20`; it prints one line a kill and the counts at the end.
Every kill is a run of its own: begun anew, killed once, gone on with to its end. Work is counted in windows: those
that were under way or finished before the kill and are computed again after it are repeated. `--at-once` such runs are
under way side by side, a thread each (not on one output: each has a folder of its own). On two cores that do nothing
else, twenty kills take some two minutes with kriging, and five with `--method bundled --side 384 --tile 64`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scale import survey

from geonp.journal import place_of

PROGRAM = "import sys; from geonp.cli import main; sys.argv[0] = 'geonp'; main()"


def command(source: Path, folder: Path, method: str, tile: int) -> list[str]:
    """Return the command that completes `source` into `folder`, with all that a run can write."""
    where = ["-o", str(folder / "mean.tif"), str(folder / "var.tif"), "--std", str(folder / "std.tif")]
    words = ["predict", str(source), *where, "--status", str(folder / "status.tif")]
    return [
        sys.executable,
        "-c",
        PROGRAM,
        *words,
        "--method",
        method,
        "--tile",
        str(tile),
        "--quiet",
        "--resume",
    ]


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def kept(folder: Path) -> int:
    """Return how many windows the journal holds."""
    lines = place_of(folder / "mean.tif") / "journal.jsonl"
    return sum(b'"window"' in line for line in lines.read_bytes().splitlines()) if lines.exists() else 0


@dataclass(frozen=True)
class Killing:
    """A moment at which a run is killed.

    Parameters
    ----------
    folder : of the run's outputs.
    after : windows that are finished by then; 0 is while it starts or prepares, all of them while it writes.
    later : seconds beyond that.
    """

    folder: Path
    after: int
    later: float


@dataclass(frozen=True)
class Outcome:
    """What came of a killed run: windows kept and computed afterwards, equal bytes, over before the kill."""

    kept: int
    computed: int
    identical: bool
    late: bool


def killed(moment: Killing, words: list[str], wanted: dict[str, bytes]) -> Outcome:
    """Begin a run, kill it, and let it go on to its end."""
    moment.folder.mkdir()
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL, env=environment())
    while child.poll() is None and kept(moment.folder) < moment.after:
        time.sleep(0.01)
    time.sleep(moment.later)
    late = child.poll() is not None
    child.kill()
    child.wait()
    before = kept(moment.folder)
    again = [*words, "--json", "--overwrite"]
    out = subprocess.run(again, check=True, capture_output=True, text=True, env=environment())
    done = json.loads(out.stdout)
    computed = done["windows"] - done["windows_kept"]
    return Outcome(before, computed, contents(moment.folder) == wanted, late)


def environment() -> dict[str, str]:
    """Return the environment of a run: it has one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def main() -> None:
    """Kill, go on, compare, count."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--method", default="kriging")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--side", type=int, default=768, help="side of the raster in pixels")
    parser.add_argument("--tile", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at-once", type=int, default=2, help="runs side by side")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    windows = (-(-given.side // given.tile)) ** 2
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        source, whole = Path(scratch, "survey.tif"), Path(scratch, "whole")
        survey(source, given.side, given.side, 0.125)
        whole.mkdir()
        start = time.perf_counter()
        subprocess.run(command(source, whole, given.method, given.tile), check=True, env=environment())
        seconds = time.perf_counter() - start
        wanted = contents(whole)
        print(f"{given.method}: {windows} windows, uninterrupted in {seconds:.1f} s", flush=True)
        # A moment of the start, of any window, or of the last steps; some while into it.
        moments = [
            Killing(Path(scratch, f"run-{n}"), rng.randint(0, windows), rng.uniform(0, seconds / windows))
            for n in range(given.kills)
        ]

        def one(moment: Killing) -> Outcome:
            return killed(moment, command(source, moment.folder, given.method, given.tile), wanted)

        outcomes = []
        with ThreadPoolExecutor(given.at_once) as pool:
            for outcome in pool.map(one, moments):
                outcomes.append(outcome)
                print(
                    f"killed with {outcome.kept:3} windows kept, {outcome.computed:3} computed afterwards: "
                    f"{'identical' if outcome.identical else 'DIFFERENT'}",
                    flush=True,
                )
    # A window that was under way at the kill is computed again; so would be one that the journal lost.
    most = max(o.kept + o.computed - windows + (0 < o.kept < windows) for o in outcomes)
    print(
        f"{sum(o.identical for o in outcomes)} of {given.kills} identical; at most {most} of {windows} windows "
        f"({most / windows:.1%}) begun twice; {sum(o.kept == 0 for o in outcomes)} killed before the first window was "
        f"finished, {sum(o.late for o in outcomes)} finished before the kill; "
        f"{time.perf_counter() - begun:.0f} s in all"
    )


if __name__ == "__main__":
    main()
