"""Let coverage guide the inputs: the readers of points and of model files under atheris (libFuzzer for Python).

    pip install --group fuzz
    python -m tests.fuzz.guided table --count 20000 --seed 1 --keep failing/

Targets: table (the bytes of a table of points), model (the bytes of a model file), metadata (a model file with a
valid digest, what it says drawn anew). Every input is judged as in `python -m tests.fuzz`; those that fail are kept,
and the search goes on. Without atheris nothing is tried, and the exit code is 2.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .tally import SECONDS, Outcome, Record, Tally, judge

TARGETS = ("table", "model", "metadata")
CLOCK = 4 * SECONDS
WATCHED = ("geonp.io.points", "geonp.io.table", "geonp.io.grid", "geonp.io.checkpoint", "geonp.models")
"""Modules whose branches guide the search."""
SIZES = (
    "bands",
    "channels",
    "latent",
    "levels",
    "heads",
    "covariates",
    "width",
    "depth",
    "kernel",
    "nonsense",
)
"""Names that settings of networks have, and one that none has."""


def main() -> int:
    """Run what the command line says; return the exit code where atheris is not there."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__.splitlines()[0])
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--count", type=int, default=20_000, help="inputs to try")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="the search ends after so long in any case"
    )
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    given = parser.parse_args()
    try:
        import atheris
    except ImportError:
        print("atheris is not installed here: pip install --group fuzz (it is made for Linux)")
        return 2
    given.keep.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=list(WATCHED)):
        from . import readers
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        folder = Path(name)
        corpus = folder / "corpus"
        corpus.mkdir()
        read = _reader(given.target, folder, readers, atheris.FuzzedDataProvider)
        for number, seed in enumerate(_seeds(given.target, folder, readers)):
            (corpus / str(number)).write_bytes(seed)
        record = Record(folder / "journal", given.keep, given.target)
        search = _Search(read, given.count, time.monotonic() + 60 * given.minutes, record)
        options = [f"-seed={given.seed}", f"-timeout={CLOCK}", "-rss_limit_mb=4096", "-max_len=4096"]
        options += [f"-artifact_prefix={given.keep}/", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *options, str(corpus)], search)
        atheris.Fuzz()  # never returns: the search ends the process when it has tried enough
    return 0


class _Search:
    """What libFuzzer calls with every input.

    Parameters
    ----------
    read : reads an input, or raises.
    count : inputs after which the process ends.
    end : on the monotonic clock, when it ends in any case.
    record : keeps what fails.
    """

    def __init__(self, read: Callable[[bytes], None], count: int, end: float, record: Record) -> None:
        self.read, self.count, self.end, self.record = read, count, end, record
        self.tally, self.tried, self.began = Tally(), 0, time.monotonic()

    def __call__(self, content: bytes) -> None:
        """Try one input."""
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome, said = judge(lambda: self.read(content))
        if time.process_time() - start > SECONDS:
            outcome, said = Outcome.HANG, f"longer than {SECONDS} s"
        if outcome not in (Outcome.ANSWERED, Outcome.REFUSED):
            self.record.trying(content)
            self.record.done(outcome, said)
        self.tally.add(self.record.kind, outcome, said)
        self.tried += 1
        if self.tried >= self.count or time.monotonic() > self.end:
            shutil.rmtree(self.record.journal.parent, ignore_errors=True)
            print(self.tally.table())
            for _, how, why in self.tally.failures[:20]:
                print(f"\n{how}: {why.strip()[-1500:]}")
            print(*(f"{n:6}  {why}" for why, n in self.tally.reasons.most_common(40)), sep="\n")
            print(f"{self.tried} inputs in {time.monotonic() - self.began:.0f} s", flush=True)
            os._exit(1 if self.tally.failures else 0)


def _seeds(target: str, folder: Path, readers: Any) -> list[bytes]:
    """Return whole inputs to begin with."""
    if target == "table":
        return [table.encode() for table in readers.TABLES]
    if target == "model":
        return [content for content in readers.model_files(folder) if len(content) < 4096]
    return [bytes(range(256)), b""]


def _reader(
    target: str, folder: Path, readers: Any, provider: Callable[[bytes], Any]
) -> Callable[[bytes], None]:
    """Return what reads an input of a target."""
    if target == "metadata":
        return lambda content: readers.read_model(_signed(provider(content), folder, readers), folder)
    read: Callable[[bytes, Path], None] = readers.READ[target]
    return lambda content: read(content, folder)


def _signed(data: Any, folder: Path, readers: Any) -> bytes:
    """Return a model file with a valid digest, some entries of whose metadata are drawn from `data`."""
    metadata: dict[str, Any] = readers.sensible(data.ConsumeIntInRange(0, 99))
    for _ in range(data.ConsumeIntInRange(1, 4)):
        inside = metadata
        if isinstance(metadata.get("trained"), dict) and data.ConsumeBool():
            inside = metadata["trained"]
        names = sorted(inside)
        if names and data.ConsumeIntInRange(0, 9):
            name = names[data.ConsumeIntInRange(0, len(names) - 1)]
        else:
            name = data.ConsumeUnicodeNoSurrogates(12)
        if data.ConsumeIntInRange(0, 9):
            inside[name] = _like(inside.get(name), data) if data.ConsumeIntInRange(0, 3) else _value(data, 3)
        else:
            inside.pop(name, None)
    return readers.signed(metadata, data.ConsumeBool(), folder)  # type: ignore[no-any-return]


def _like(value: Any, data: Any) -> Any:
    """Return another value of the same JSON type, drawn from `data`; any where there is none to be like."""
    match value:
        case bool() | None:
            return _value(data, 2)
        case int():
            return data.ConsumeInt(8) if data.ConsumeBool() else data.ConsumeIntInRange(-1, 64)
        case float():
            return data.ConsumeFloat()
        case str():
            names = ("", "{}", "[]", "cnp", "ifnp", "kriged-ifanp")
            return names[data.ConsumeIntInRange(0, len(names) - 1)]
        case list():
            return [_like(item, data) for item in value]
        case _:
            return {SIZES[data.ConsumeIntInRange(0, len(SIZES) - 1)]: _like(8, data) for _ in range(2)}


def _value(data: Any, depth: int) -> Any:
    """Return a JSON value drawn from `data`."""
    match data.ConsumeIntInRange(0, 9 if depth else 6):
        case 0:
            return None
        case 1:
            return data.ConsumeBool()
        case 2:
            return data.ConsumeInt(8)
        case 3:
            return data.ConsumeIntInRange(0, 40)
        case 4:
            return data.ConsumeRegularFloat()
        case 5:
            return 10 ** data.ConsumeIntInRange(0, 30)
        case 6:
            return data.ConsumeUnicodeNoSurrogates(20)
        case 7 | 8:
            return [_value(data, depth - 1) for _ in range(data.ConsumeIntInRange(0, 3))]
        case _:
            names = [data.ConsumeUnicodeNoSurrogates(6) for _ in range(data.ConsumeIntInRange(0, 3))]
            return {name: _value(data, depth - 1) for name in names}


if __name__ == "__main__":
    sys.exit(main())
