"""Several processes of one command: started together, ended together, heard as one.

They find each other by the variables of the environment that torchrun sets
(https://pytorch.org/docs/stable/elastic/run.html). The first one has the terminal; of the others, only what one
of them says when it fails is shown.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import IO

import click

_RUN, _OURS = "TORCHELASTIC_RUN_ID", "geonp-"
_LOOK = 0.05
# Seconds: for the first process to save what it has; to say itself what is wrong, where all have met the same
# mistake; to end when told; and to wait for the end when the others cannot be reached.
_SAVING, _SPEAKING, _ENDING, _OUTLIVING = 60.0, 3.0, 2.0, 20.0


def started() -> bool:
    """Return whether a launcher, torchrun or `launch`, has started this process as one of several."""
    return _RUN in os.environ


def leads() -> bool:
    """Return whether this process is alone or the first of several."""
    return not started() or os.environ.get("RANK") == "0"


@contextlib.contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """Gather interrupts in a list, so that work stops where it can be taken up again; a second one interrupts."""
    asked: list[int] = []

    def note(signum: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(signum)

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    kinds = [kind for kind in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(kind) != signal.SIG_IGN]
    before = {kind: signal.signal(kind, note) for kind in kinds}
    try:
        yield asked
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)


def follow() -> None:
    """End with the process that started this one, however that ends."""
    if not os.environ.get(_RUN, "").startswith(_OURS):
        return

    def wait() -> None:
        os.read(0, 1)  # nothing ever comes: it returns when the other end is closed
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_OUTLIVING)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def outlive() -> None:
    """Wait to be ended: when the others cannot be reached, it is one of them that has to say why."""
    if started():
        time.sleep(_OUTLIVING)


def launch(arguments: Sequence[str], count: int, advice: str) -> int:
    """Run `geonp ARGUMENTS` in `count` processes that know of each other; return the exit code.

    Parameters
    ----------
    advice : what to do when one of them has died.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with contextlib.ExitStack() as stack:
        crew: list[_Member] = []
        stack.callback(_end, crew)
        for rank in range(count):
            words = None if rank == 0 else stack.enter_context(tempfile.TemporaryFile())
            crew.append(_start(arguments, rank, count, port, words))
        try:
            return _watch(crew, advice)
        except KeyboardInterrupt:
            return _ask(crew[0], signal.SIGINT)
        except SystemExit:
            return _ask(crew[0], signal.SIGTERM)


@dataclass(frozen=True)
class _Member:
    """A process, and the file of what it says; None where it speaks to the terminal."""

    process: subprocess.Popen[bytes]
    words: IO[bytes] | None

    def told(self) -> str:
        """Return what it said, from its last line of ours on."""
        if self.words is None:
            return ""
        self.words.seek(0)
        text = self.words.read().decode(errors="replace").strip()
        return text[max(text.rfind("geonp: "), 0) :]


def _start(arguments: Sequence[str], rank: int, count: int, port: int, words: IO[bytes] | None) -> _Member:
    variables = {
        _RUN: f"{_OURS}{os.getpid()}",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    # A session of its own, so that an interrupt from the keyboard comes here, and is passed on to one of them.
    process = subprocess.Popen(
        [sys.executable, "-m", "geonp.cli", *arguments],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=None if words is None else subprocess.DEVNULL,
        stderr=words,
        start_new_session=True,
    )
    return _Member(process, words)


def _watch(crew: Sequence[_Member], advice: str) -> int:
    """Wait until all have ended, or one has failed."""
    while True:
        codes = [member.process.poll() for member in crew]
        for rank, code in enumerate(codes):
            if code:
                return _failed(crew, rank, code, advice)
        if all(code == 0 for code in codes):
            return 0
        time.sleep(_LOOK)


def _failed(crew: Sequence[_Member], rank: int, code: int, advice: str) -> int:
    """Say why a process failed, unless the first one says it, and return the exit code."""
    first = crew[0].process
    if code > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            first.wait(_SPEAKING)
        if first.returncode:
            return first.returncode if first.returncode > 0 else 1
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"failed (exit code {code})"
    why = " Was there not enough memory?" if code == -getattr(signal, "SIGKILL", 9) else ""
    if told := crew[rank].told():
        click.echo(told, err=True)
    click.echo(
        f"geonp: process {rank + 1} of {len(crew)} {how}; the others were ended.{why} {advice}", err=True
    )
    return max(code, 1)


def _ask(first: _Member, kind: signal.Signals) -> int:
    """Let the first process save what it has, and return the exit code of an interrupted run."""
    first.process.send_signal(kind)
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.process.wait(_SAVING)
    return 128 + kind


def _end(crew: Sequence[_Member]) -> None:
    for member in crew:
        if member.process.poll() is None:
            member.process.terminate()
    until = time.monotonic() + _ENDING
    for member in crew:
        with contextlib.suppress(subprocess.TimeoutExpired):
            member.process.wait(max(until - time.monotonic(), 0))
        if member.process.poll() is None:
            member.process.kill()
            member.process.wait()
        if member.process.stdin is not None:
            member.process.stdin.close()
