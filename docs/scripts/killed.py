"""Kill `geonp predict --resume` (SIGKILL) at random moments, let it go on, and compare the outputs byte for byte.

Run `python docs/scripts/killed.py --method kriging --kills 20`; it prints one line a kill and the counts at the end.
Every kill is a run of its own: begun anew, killed once, gone on with to its end. Work is counted in windows: those
that were under way or finished before the kill and are computed again after it are repeated. On two cores twenty
kills take about five minutes with kriging, and ten with `--method bundled --side 384 --tile 64`.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
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
    given = parser.parse_args()
    rng = random.Random(given.seed)
    windows = (-(-given.side // given.tile)) ** 2
    same = early = late = 0
    repeated = []
    with tempfile.TemporaryDirectory() as scratch:
        source, whole = Path(scratch, "survey.tif"), Path(scratch, "whole")
        survey(source, given.side, given.side, 0.125)
        whole.mkdir()
        start = time.perf_counter()
        subprocess.run(command(source, whole, given.method, given.tile), check=True)
        seconds = time.perf_counter() - start
        wanted = contents(whole)
        print(f"{given.method}: {windows} windows, uninterrupted in {seconds:.1f} s", flush=True)
        for number in range(given.kills):
            folder = Path(scratch, f"run-{number}")
            folder.mkdir()
            words = command(source, folder, given.method, given.tile)
            child = subprocess.Popen(words, stderr=subprocess.DEVNULL)
            # A moment of the start, of any window, or of the last steps; some while into it.
            after = rng.randint(0, windows)
            while child.poll() is None and kept(folder) < after:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, seconds / windows))
            late += child.poll() is not None
            child.kill()
            child.wait()
            before = kept(folder)
            early += before == 0
            out = subprocess.run(
                [*words, "--json", "--overwrite"], check=True, capture_output=True, text=True
            )
            done = json.loads(out.stdout)
            computed = done["windows"] - done["windows_kept"]
            # A window that was under way at the kill is computed again; so would be one that the journal lost.
            repeated.append(before + computed - windows + (0 < before < windows))
            identical = contents(folder) == wanted
            same += identical
            print(
                f"killed with {before:3} windows kept, {computed:3} computed afterwards: "
                f"{'identical' if identical else 'DIFFERENT'}",
                flush=True,
            )
    share = max(repeated) / windows
    print(
        f"{same} of {given.kills} identical; at most {max(repeated)} of {windows} windows ({share:.1%}) begun twice; "
        f"{early} killed before the first window was finished, {late} finished before the kill"
    )


if __name__ == "__main__":
    main()
