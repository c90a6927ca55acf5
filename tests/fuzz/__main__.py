"""Try thousands of strange inputs, count how each kind ended, and keep every input that failed.

    python -m tests.fuzz --kind fields --count 1000 --seed 1 --minutes 10 --keep failing/
    python -m tests.fuzz --replay failing/fields-wrong-0000.input

Kinds: fields (arrays, masks, types, transforms through `complete` and `evaluate`), model, table, layer (damaged
files in their readers), tif, nc, zarr (damaged files through `geonp info` and `geonp predict`). Every kind runs in
a worker of its own, so that a crash of the interpreter is counted and the rest goes on. Exit code 1 if anything
failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np

from .tally import Outcome, Record, Tally, attempt

KINDS = {"fields": 25, "model": 20, "table": 20, "layer": 7, "tif": 16, "nc": 6, "zarr": 6}
"""Kinds of input, and their share in a hundred when all of them are tried."""


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=["all", *KINDS], default="all")
    parser.add_argument("--count", type=int, default=1000, help="inputs to try in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=60.0, help="no input is begun after so long")
    parser.add_argument(
        "--keep", type=Path, default=Path("fuzz-failures"), help="folder of the inputs that fail"
    )
    parser.add_argument("--replay", type=Path, help="try one kept input again")
    parser.add_argument("--reasons", action="store_true", help="list what refusals say, most frequent first")
    given = parser.parse_args()
    if given.replay is not None:
        return _replay(given.replay)
    given.keep.mkdir(parents=True, exist_ok=True)
    end, tally = time.monotonic() + 60 * given.minutes, Tally()
    shares = KINDS if given.kind == "all" else {given.kind: 100}
    for kind, share in shares.items():
        _supervise(kind, -(-given.count * share // 100), given.seed, end, given.keep, tally)
    print(tally.table())
    if given.reasons:
        print(*(f"{count:6}  {said}" for said, count in tally.reasons.most_common(40)), sep="\n")
    for kind, outcome, said in tally.failures:
        print(f"\n{kind}: {outcome}: {said.strip()[-1500:]}")
    return 1 if tally.failures else 0


def _supervise(kind: str, count: int, seed: int, end: float, keep: Path, tally: Tally) -> None:
    """Let workers try `count` inputs; one that dies is counted as a crash, and another goes on."""
    done, turn = 0, 0
    while done < count and time.monotonic() < end:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
            record = Record(Path(name) / "journal", keep.resolve(), kind)
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                _work(record, kind, count - done, seed + 1000 * turn, end, Path(name))
            _, status = os.waitpid(child, 0)
            lines = record.journal.read_text().splitlines() if record.journal.exists() else []
            for line in lines:
                counted, outcome, said = json.loads(line)
                tally.add(counted, Outcome(outcome), said)
            done, turn = done + len(lines), turn + 1
            if status != 0:
                if not record.current().exists():
                    raise RuntimeError(f"the worker for {kind} could not begin (status {status})")
                record.done(Outcome.CRASH, f"the process died with status {status}")
                tally.add(kind, Outcome.CRASH, f"the process died with status {status}")
                done += 1


def _work(record: Record, kind: str, count: int, seed: int, end: float, folder: Path) -> None:
    code = 3
    try:
        if kind == "fields":
            _fields(record, count, seed, end, folder)
        else:
            rng = np.random.default_rng([seed, sorted(KINDS).index(kind)])
            _files(record, kind, count, rng, end, folder)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _fields(record: Record, count: int, number: int, end: float, folder: Path) -> None:
    from hypothesis import HealthCheck, Phase, given, seed, settings

    from .fields import OFTEN, SELDOM, Case, cases, examine

    tried: set[Case] = set()
    turns = cycle((*OFTEN, *OFTEN, *SELDOM))

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, derandomize=False, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(cases())
    def explore(case: Case) -> None:
        if time.monotonic() > end or case in tried:
            return
        tried.add(case)
        case = replace(case, method=next(turns))  # drawn too, a few of them would be most
        record.trying(case.dumps().encode())
        record.done(*attempt(lambda: examine(case, folder)), kind=f"fields ({case.method})")

    explore()


def _files(record: Record, kind: str, count: int, rng: np.random.Generator, end: float, folder: Path) -> None:
    from . import files, readers

    models = readers.model_files(folder) if kind == "model" else []
    vectors = readers.layers(folder) if kind == "layer" else {}
    originals = files.rasters(folder) if kind == "tif" else []
    netcdf, zarr = files.arrays(folder) if kind in ("nc", "zarr") else (b"", folder)
    if kind in ("tif", "nc", "zarr"):
        files.warm()
    for _ in range(count):
        if time.monotonic() > end:
            return
        if kind == "zarr":
            store = folder / "survey.zarr"
            files.damage_store(zarr, store, rng)
            record.trying(_packed(store))
            record.done(*files.run(files.command(store, rng), folder))
            continue
        suffix = f".{kind}"
        if kind == "model":
            content = readers.damaged_model(models, rng, folder)
        elif kind == "table":
            content = readers.damaged_table(rng)
        elif kind == "layer":
            suffix = sorted(vectors)[rng.integers(len(vectors))]
            content = readers.mutate(vectors[suffix], rng)
        else:
            content = (
                files.damaged_raster(originals, rng)
                if kind == "tif"
                else readers.mutate(netcdf, rng, head=3000)
            )
        record.trying(suffix.encode().ljust(16) + content)
        record.done(*_try_file(content, suffix, folder, rng))


def _try_file(content: bytes, suffix: str, folder: Path, rng: np.random.Generator) -> tuple[Outcome, str]:
    from . import files, readers

    if suffix in (".tif", ".nc"):
        path = folder / f"survey{suffix}"
        path.write_bytes(content)
        return files.run(files.command(path, rng), folder)
    if suffix in (".model", ".table"):
        return attempt(lambda: readers.READ[suffix[1:]](content, folder))
    return attempt(lambda: readers.read_layer(content, suffix, folder))


def _packed(store: Path) -> bytes:
    """Return the files of a store as one JSON text, to be kept."""
    found = {str(p.relative_to(store)): p.read_bytes().hex() for p in sorted(store.rglob("*")) if p.is_file()}
    return b".zarr".ljust(16) + json.dumps(found).encode()


def _replay(path: Path) -> int:
    from . import files
    from .fields import Case, examine

    content = path.read_bytes()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        if content.startswith(b"{"):
            outcome, said = attempt(lambda: examine(Case.loads(content.decode()), folder))
        elif content.startswith(b".zarr "):
            store = folder / "survey.zarr"
            for inside, text in json.loads(content[16:]).items():
                (store / inside).parent.mkdir(parents=True, exist_ok=True)
                (store / inside).write_bytes(bytes.fromhex(text))
            for seed in range(8):
                outcome, said = files.run(files.command(store, np.random.default_rng(seed)), folder)
                print(outcome, said)
        else:
            suffix = content[:16].decode().strip()
            for seed in range(8 if suffix in (".tif", ".nc") else 1):
                outcome, said = _try_file(content[16:], suffix, folder, np.random.default_rng(seed))
                print(outcome, said)
    print(outcome, said)
    return 0 if outcome in (Outcome.ANSWERED, Outcome.REFUSED) else 1


if __name__ == "__main__":
    sys.exit(main())
