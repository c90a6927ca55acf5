"""What an interrupted run has finished, kept beside its output, so that the next one goes on from there.

A hidden folder holds two files. `windows` holds completed windows, one after the other, as they were computed:
before they are blended, encoded or compressed. `journal.jsonl` tells in one line what is being done, and in one
line each which window is where. A line is written when its window is on the disk, so that nothing is believed
that a loss of power took away.

A run that goes on writes its outputs anew, from the kept windows and from those still to be computed, in the order
of an uninterrupted run. The bytes are therefore the same in every format.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from geonp.blend import Layers
from geonp.errors import OutputError, UsageError
from geonp.field import Window, grid_shape
from geonp.io.paths import reason
from geonp.predict import Completion

Compute = Callable[[Sequence[Window]], Iterable[Layers]]

_LINES, _WINDOWS = "journal.jsonl", "windows"
_STAGED = ".geonp-"


def place_of(output: Path) -> Path:
    """Return the folder in which the run that writes `output` keeps what it has finished."""
    return output.absolute().with_name(f".{output.name}.geonp-resume")


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run was asked, the side of its windows, and what its method was prepared to."""

    asked: dict[str, str]
    tile: int
    prepared: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Record:
    start: int
    size: int
    crc: int


class Journal:
    """The journal of one run. Used as a context, it is closed on leaving, and kept until `remove`.

    Parameters
    ----------
    outputs : what the run writes; the journal is kept beside the first one (`place_of`).
    asked : what the run was asked, by name. A journal that was begun otherwise is refused.

    Raises
    ------
    UsageError
        If what is asked differs from what the journal was begun with.
    OutputError
        If another run is using it, or it cannot be read or written.
    """

    def __init__(self, outputs: Sequence[Path], asked: Mapping[str, str]) -> None:
        self.folder = folder = place_of(outputs[0])
        self._beside = {path.absolute().parent for path in outputs}
        self._asked = dict(asked)
        self._records: dict[Window, _Record] = {}
        self._staged: list[str] = []
        self._end = 0
        if os.path.lexists(folder) and not _is_journal(folder):
            raise OutputError(f"{folder}: is in the way of the run's journal and is none; move it elsewhere")
        with self._failing():
            folder.mkdir(exist_ok=True)
            self._lines = (folder / _LINES).open("a+b")
            self._windows = (folder / _WINDOWS).open("a+b")
            _sync_folder(folder.parent)
        try:
            _lock(self._lines, folder)
            self._begun = self._read_lines()
            if self._begun is not None:
                self._compare(self._begun.asked, self._asked)
            self._remove_staged()
        except BaseException:
            self.close()
            raise

    @property
    def tile(self) -> int | None:
        """Side of the windows of the run that is gone on with; None where there was none."""
        return None if self._begun is None else self._begun.tile

    @property
    def finished(self) -> int:
        """Windows that are kept."""
        return len(self._records)

    def begin(self, ready: Completion) -> None:
        """Check that the method was prepared as it was before, or note how it is.

        Parameters
        ----------
        ready : the run.

        Raises
        ------
        UsageError
            If it was prepared otherwise.
        OutputError
            If the disk has no room for the windows.
        """
        now = _Begun(self._asked, ready.tile, _texts(ready.describe()) | _texts(_seen(ready)))
        if self._begun is not None:
            self._compare({"tile": str(self._begun.tile)}, {"tile": str(now.tile)})
            self._compare(self._begun.prepared, now.prepared)
            return
        depth = 9 if ready.variance else 5
        rows, cols = grid_shape(ready.field)
        wanted, free = depth * ready.field.sizes["band"] * rows * cols, shutil.disk_usage(self.folder).free
        if wanted > free:
            raise OutputError(
                f"{self.folder.parent}: --resume keeps {wanted / 1e9:.1f} GB there until the run is finished, and "
                f"{free / 1e9:.1f} GB are free; leave --resume out, or write to another disk"
            )
        self._begun = now
        self._note(asdict(now))

    def staged(self, folders: Sequence[Path]) -> None:
        """Note where outputs are written, so that a later run can remove what a crash leaves there."""
        self._note({"staged": [str(folder) for folder in folders]})

    def completed(self, ready: Completion, compute: Compute | None = None) -> Iterator[Layers]:
        """Yield all windows of a run, completed, in order: those that are kept, and the others once they are kept.

        Parameters
        ----------
        ready : the run.
        compute : completes windows in their order; by default `ready.completed`.
        """
        windows = ready.windows()
        missing = [window for window in windows if window not in self._records]
        fresh = iter((compute or ready.completed)(missing))
        for window in windows:
            if window in self._records:
                yield self._load(window, ready) or ready.completer()(window)
            else:
                layers = next(fresh)
                self._keep(layers)
                yield layers

    def close(self) -> None:
        """Close the journal and keep it; another run may then use it."""
        for file in (self._lines, self._windows):
            with contextlib.suppress(OSError):  # a full disk, of which was told already
                file.close()

    def remove(self) -> None:
        """Remove the journal: the run is finished."""
        self.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _keep(self, layers: Layers) -> None:
        parts = [a for a in (layers.mean, layers.variance, layers.status) if a is not None]
        data = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
        with self._failing():
            self._windows.write(data)
            self._windows.flush()
            os.fsync(self._windows.fileno())
        window = layers.window
        record = _Record(self._end, len(data), zlib.crc32(data))
        place = [window.row, window.col, window.height, window.width]
        self._note({"window": place, "start": record.start, "size": record.size, "crc": record.crc})
        self._records[window] = record
        self._end += len(data)

    def _load(self, window: Window, ready: Completion) -> Layers | None:
        """Return a window that was kept; None where what is on the disk is not what was written."""
        record, shape = self._records[window], (ready.field.sizes["band"], *window.shape)
        with self._failing():
            self._windows.seek(record.start)
            data = self._windows.read(record.size)
        pixels, floats = int(np.prod(shape)), 2 if ready.variance else 1
        if len(data) != (4 * floats + 1) * pixels or zlib.crc32(data) != record.crc:
            return None
        values = np.frombuffer(data, np.float32, floats * pixels).reshape(floats, *shape)
        status = np.frombuffer(data, np.uint8, pixels, 4 * floats * pixels).reshape(shape)
        return Layers(window, values[0], values[1] if ready.variance else None, status)

    def _note(self, entry: Mapping[str, Any]) -> None:
        with self._failing():
            self._lines.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            self._lines.flush()
            os.fsync(self._lines.fileno())

    def _read_lines(self) -> _Begun | None:
        """Read what earlier runs noted, and cut off what they had not finished writing; return what they were."""
        begun = None
        with self._failing():
            self._lines.seek(0)
            there, good = os.fstat(self._windows.fileno()).st_size, 0
            for line in self._lines.read().split(b"\n")[:-1]:
                try:
                    entry = json.loads(line)
                    if begun is None:
                        tile = int(entry["tile"])
                        begun = _Begun(_texts(entry["asked"]), tile, _texts(entry["prepared"]))
                    else:
                        self._believe(entry, there)
                except (ValueError, KeyError, TypeError, AttributeError):
                    break
                good += len(line) + 1
            self._lines.truncate(good)
            self._windows.truncate(self._end)
        return begun

    def _believe(self, entry: Mapping[str, Any], there: int) -> None:
        """Take note of a line, if there are as many bytes of windows as it says."""
        if "staged" in entry:
            self._staged += [str(folder) for folder in entry["staged"]]
            return
        window = Window(*map(int, entry["window"]))
        record = _Record(*(int(entry[name]) for name in ("start", "size", "crc")))
        if record.size < 0 or record.start != self._end or record.start + record.size > there:
            raise ValueError("this window is not there")
        self._records[window] = record
        self._end += record.size

    def _compare(self, then: Mapping[str, str], now: Mapping[str, str]) -> None:
        names = [name for name in {**then, **now} if then.get(name) != now.get(name)]
        if names:
            told = "; ".join(
                f"{name} was {then.get(name, 'not given')}, now it is {now.get(name, 'not given')}"
                for name in names
            )
            raise UsageError(
                f"the interrupted run cannot be gone on with, it was another one: {told}. Type what you typed then, "
                f"or remove {self.folder} to begin anew"
            )

    def _remove_staged(self) -> None:
        """Remove what a run that was killed had begun to write."""
        for text in self._staged:
            path = Path(text)
            # A journal is a file like any other: it is not believed further than this.
            ours = path.parent in self._beside and path.name.startswith(_STAGED)
            if ours and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        """Turn errors of the file system into one line."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.folder}: finished windows cannot be kept there ({reason(error)}); see to it that the disk has "
                "room and can be written to, and type the same command again"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ended: object) -> None:
        self.close()


def _seen(ready: Completion) -> dict[str, object]:
    """Return what tells one survey's data from another's."""
    seen = ready.summary
    return {
        "number of observations": seen.observed.tolist(),
        "mean of the observations": seen.mean.tolist(),
        "variance of the observations": seen.variance.tolist(),
    }


def _texts(entry: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in entry.items()}


def _is_journal(folder: Path) -> bool:
    return (
        folder.is_dir()
        and not folder.is_symlink()
        and {p.name for p in folder.iterdir()} <= {_LINES, _WINDOWS}
    )


def _lock(file: IO[bytes], folder: Path) -> None:
    """Keep other runs away from a journal for as long as it is open, where the system can."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows
        return
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise OutputError(
            f"{folder}: another run is writing the same output; wait for it, or choose another name"
        ) from None


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # pragma: no cover - Windows
        return
    try:
        os.fsync(handle)
    except OSError:  # pragma: no cover - some file systems
        pass
    finally:
        os.close(handle)
