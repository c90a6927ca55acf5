"""What became of an input, counted; and the limits under which it is tried."""

from __future__ import annotations

import json
import re
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from geonp.errors import GeonpError

SECONDS = 30


class Outcome(StrEnum):
    """How an input ended."""

    ANSWERED = "answered"
    REFUSED = "refused"
    CRASH = "crash"
    HANG = "hang"
    WRONG = "wrong"


GOOD = (Outcome.ANSWERED, Outcome.REFUSED)


class Wrong(Exception):
    """An answer that is not right: says which promise was broken."""


class Hang(BaseException):
    """The limit of processor time, or four times as much by the clock, is over."""


@dataclass
class Tally:
    """Outcomes by kind of input, and the failures in words."""

    counts: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    failures: list[tuple[str, Outcome, str]] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str, outcome: Outcome, said: str) -> None:
        """Count one input."""
        self.counts[kind, outcome] += 1
        if outcome not in GOOD:
            self.failures.append((kind, outcome, said))
        elif said:
            self.reasons[re.sub(r"\S*/|[-+]?[\d.,]+(e[-+]?\d+)?", "~", said)[:110]] += 1

    def table(self) -> str:
        """Return the counts as a Markdown table."""
        kinds = sorted({kind for kind, _ in self.counts})
        lines = ["| input | tried | " + " | ".join(Outcome) + " |", "|---|" + "---:|" * (len(Outcome) + 1)]
        for kind in [*kinds, "all"]:
            own = [
                sum(n for (k, o), n in self.counts.items() if o == outcome and kind in (k, "all"))
                for outcome in Outcome
            ]
            lines.append(f"| {kind} | {sum(own):,} | " + " | ".join(f"{n:,}" for n in own) + " |")
        return "\n".join(lines)


def attempt(action: Callable[[], None], seconds: float = SECONDS) -> tuple[Outcome, str]:
    """Run `action` for so many seconds of processor time at most, and tell how it ended."""
    try:
        with limited(seconds):
            return judge(action)
    except Hang:
        return Outcome.HANG, f"longer than {seconds:g} s\n{traceback.format_exc()}"


def judge(action: Callable[[], None]) -> tuple[Outcome, str]:
    """Run `action` and tell how it ended: an error of geonp with a message is a refusal, any other a crash."""
    try:
        action()
    except Wrong as error:
        return Outcome.WRONG, str(error)
    except GeonpError as error:
        said = str(error)
        if said.strip() and "\n" not in said.strip():
            return Outcome.REFUSED, said
        return Outcome.WRONG, f"a message of no or several lines: {said!r}"
    except Exception:
        return Outcome.CRASH, traceback.format_exc()
    return Outcome.ANSWERED, ""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise Hang in the block after so many seconds of processor time, or four times as many by the clock."""

    def stop(*_: object) -> None:
        raise Hang

    old = [signal.signal(s, stop) for s in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, 4 * seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), old, strict=True):
            signal.signal(number, handler)


@dataclass
class Record:
    """The journal of a worker: each input is noted before it is tried, so that one that kills is known.

    Parameters
    ----------
    journal : a line a finished input.
    keep : folder where the inputs that failed are kept.
    kind : of input.
    """

    journal: Path
    keep: Path
    kind: str

    def current(self) -> Path:
        """Return where the input being tried is kept."""
        return self.journal.with_suffix(".current")

    def trying(self, content: bytes) -> None:
        """Keep an input until it is done."""
        self.current().write_bytes(content)

    def done(self, outcome: Outcome, said: str, kind: str | None = None) -> None:
        """Note how the input ended, and keep it if it failed."""
        kind = kind or self.kind
        if outcome not in GOOD:
            plain = re.sub(r"\W+", "-", f"{kind} {outcome}")
            number = len(list(self.keep.glob(f"{plain}-*.input")))
            self.current().replace(self.keep / f"{plain}-{number:04}.input")
            (self.keep / f"{plain}-{number:04}.txt").write_text(said)
        with self.journal.open("a") as file:
            file.write(json.dumps([kind, outcome, said]) + "\n")
