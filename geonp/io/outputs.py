"""Outputs appear all together, finished, or not at all."""

from __future__ import annotations

import abc
import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.errors import GeonpError, OutputError, UsageError
from geonp.field import Window
from geonp.io.paths import StrPath, is_address, is_zarr, reason

if sys.platform != "win32":
    import fcntl

RASTER_SUFFIXES = (".tif", ".tiff")
CONTAINER_SUFFIXES = (".nc", ".nc4", ".zarr")
_SIDECARS = (".aux.xml", ".ovr", ".msk")
_TRIES = 20

LayerArrays = Mapping[str, NDArray[Any]] | xr.Dataset


def check_outputs(
    paths: Sequence[StrPath],
    *,
    overwrite: bool = False,
    inputs: Sequence[StrPath] = (),
    suffixes: Sequence[str] = (),
) -> None:
    """Raise if outputs could not be written; to be called before any work is done.

    Parameters
    ----------
    paths : files, or folders of Zarr stores, to be written.
    overwrite : whether those that exist may be replaced.
    inputs : what is read while they are written; never replaced.
    suffixes : file name extensions that can be written (`.tif`); any if empty.

    Raises
    ------
    UsageError
        If an extension is none of `suffixes`, a path is given twice, or is one of the inputs.
    OutputError
        If an output exists, or its folder is missing or cannot be written to.
    """
    seen: set[Path] = set()
    reading = {Path(p).resolve() for p in inputs if not is_address(p)}
    for given in paths:
        path = Path(given).resolve()
        if is_address(given):
            raise OutputError(
                f"{os.fspath(given)}: outputs go to a local folder; copy them elsewhere afterwards"
            )
        if suffixes and path.suffix.lower() not in suffixes:
            raise UsageError(
                f"{given}: the format '{path.suffix}' cannot be written; use {' or '.join(suffixes)}"
            )
        if path in seen:
            raise UsageError(f"{given}: is given twice as an output; give each its own name")
        if path in reading:
            raise UsageError(f"{given}: is an input too; write to another name")
        seen.add(path)
        _check_target(path, overwrite)


def _check_target(path: Path, overwrite: bool) -> None:
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path}: there is no folder {folder}; make it first (mkdir -p {folder})")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: the folder {folder} cannot be written to; choose another")
    if not os.path.lexists(path):
        return
    if path.is_dir() and not (path.suffix == ".zarr" and (is_zarr(path) or not any(path.iterdir()))):
        raise OutputError(f"{path}: is a folder and no Zarr store; it is not replaced, choose another name")
    if not path.is_dir() and not path.is_file():
        raise OutputError(f"{path}: is neither a file nor a folder; choose another name")
    if path.is_file() and path.suffix == ".zarr":
        raise OutputError(f"{path}: is a file, a Zarr store is a folder; choose another name")
    if not overwrite:
        raise OutputError(f"{path}: exists already; choose another name, or replace it with --overwrite")


class Staging:
    """Outputs under way: written in hidden folders beside their targets, moved into place together.

    Used as a context: leaving it without `commit` removes everything. Files that a format puts beside its
    own (`.aux.xml`) move along, and those that belonged to a replaced output go.

    Parameters
    ----------
    paths, overwrite, inputs, suffixes : see `check_outputs`, which is called first.
    """

    def __init__(
        self,
        paths: Sequence[StrPath],
        *,
        overwrite: bool = False,
        inputs: Sequence[StrPath] = (),
        suffixes: Sequence[str] = (),
    ) -> None:
        check_outputs(paths, overwrite=overwrite, inputs=inputs, suffixes=suffixes)
        self._targets = [Path(p).resolve() for p in paths]
        self._overwrite = overwrite
        self._hidden: dict[Path, Path] = {}
        # Whoever is interrupted before the context is entered has nothing to leave it by.
        weakref.finalize(self, _remove, self._hidden, os.getpid())
        try:
            with _uninterrupted():
                for folder in {t.parent: None for t in self._targets}:
                    self._hidden[folder] = Path(tempfile.mkdtemp(prefix=".geonp-", dir=folder))
        except OSError as error:
            self.discard()
            raise OutputError(f"nothing can be written beside {self._targets[0]}: {reason(error)}") from None

    def temporary(self, path: StrPath) -> Path:
        """Return where to write the output that becomes `path`."""
        target = Path(path).resolve()
        return self._hidden[target.parent] / target.name

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the outputs are until they are finished."""
        return tuple(self._hidden.values())

    def commit(self) -> None:
        """Move every output into place; if one cannot be, put back what was there and raise OutputError."""
        with _uninterrupted(), _alone_in(sorted(self._hidden)):
            self._move_all()

    def _move_all(self) -> None:
        moved: list[tuple[Path, Path]] = []  # (from, to), in order
        try:
            for target in self._targets:
                if not self._overwrite and os.path.lexists(target):
                    raise FileExistsError(f"{target} appeared in the meantime")
                hidden = self._hidden[target.parent]
                old = hidden / ".replaced"
                old.mkdir(exist_ok=True)
                sidecars = [target.with_name(target.name + suffix) for suffix in _SIDECARS]
                for stale in (target, *sidecars):
                    if os.path.lexists(stale):
                        _move(stale, old / stale.name, moved)
                for new in (target, *sidecars):
                    if os.path.lexists(hidden / new.name):
                        _move(hidden / new.name, new, moved)
        except BaseException as error:
            kept = _put_back(moved)
            if kept:
                self._hidden.clear()  # what could not be put back must not be removed
                raise OutputError(
                    f"outputs cannot be moved into place ({reason(error)}), nor can what was there be put "
                    f"back: it is kept as {', '.join(map(str, kept))}"
                ) from None
            self.discard()
            if isinstance(error, OSError):
                raise OutputError(f"outputs cannot be moved into place: {reason(error)}") from None
            raise
        self.discard()

    def discard(self) -> None:
        """Remove whatever is not in place."""
        _remove(self._hidden, os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()


def _remove(hidden: dict[Path, Path], owner: int) -> None:
    """Remove the hidden folders, and forget them, in the process that made them."""
    if os.getpid() != owner:
        return
    with _uninterrupted():
        for folder in hidden.values():
            for _ in range(_TRIES):
                shutil.rmtree(folder, ignore_errors=True)
                if not os.path.lexists(folder):
                    break
                time.sleep(0.05)  # a library's own thread was still writing there
        hidden.clear()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off SIGINT and SIGTERM until the block is left: between a move and its note, nothing could be undone."""
    if threading.current_thread() is not threading.main_thread():
        yield  # where no signal is handled
        return
    came: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: came.append(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        for late in came[:1]:
            signal.raise_signal(late)


@contextlib.contextmanager
def _alone_in(folders: Sequence[Path]) -> Iterator[None]:
    """Wait until no other run moves outputs into these folders: of two at once, one's mean could end up beside the
    other's variance. Where the system or the file system has no locks, nothing is waited for.
    """
    with contextlib.ExitStack() as stack:
        if sys.platform != "win32":
            for folder in folders:
                with contextlib.suppress(OSError):
                    descriptor = os.open(folder, os.O_RDONLY)
                    stack.callback(os.close, descriptor)
                    fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


def _move(source: Path, destination: Path, moved: list[tuple[Path, Path]]) -> None:
    os.rename(source, destination)
    moved.append((source, destination))


def _put_back(moved: list[tuple[Path, Path]]) -> list[Path]:
    """Undo moves, last first, and return what could not be moved back."""
    kept = []
    for source, destination in reversed(moved):
        try:
            os.rename(destination, source)
        except OSError:
            kept.append(destination)
    return kept


@contextlib.contextmanager
def told_of_failure(path: StrPath, kinds: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn a library's error while writing `path` into an OutputError of one line."""
    try:
        yield
    except GeonpError:
        raise
    except kinds as error:
        raise OutputError(
            f"{os.fspath(path)}: cannot be written ({reason(error)}); nothing was left behind: "
            "check the free disk space, the quota and the creation options"
        ) from None


class Writer(abc.ABC):
    """Takes a completed raster window by window, in any order; the outputs appear when it is committed.

    Used as a context: leaving it without `commit`, by an exception or an interruption too, leaves nothing
    behind.
    """

    def __init__(self, staging: Staging, shape: tuple[int, int, int]) -> None:
        self._staging = staging
        self._shape = shape

    def write(self, window: Window, layers: LayerArrays) -> None:
        """Write one window of every layer.

        Parameters
        ----------
        window : where in the raster.
        layers : `mean`, `variance`, ... as arrays (band, y, x) of the window; others are passed over.

        Raises
        ------
        UsageError
            If a layer is missing or its shape is not the window's.
        OutputError
            If it cannot be written: the disk is full, for one.
        """
        bands, rows, cols = self._shape
        if min(window.row, window.col) < 0 or window.stop[0] > rows or window.stop[1] > cols:
            raise UsageError(f"{window} lies outside a raster of {rows} x {cols} pixels")
        for layer in self._layers():
            if layer not in layers:
                raise UsageError(f"the window has no {layer}; it has {', '.join(map(str, layers))}")
            values = np.asarray(layers[layer])
            if values.shape != (bands, *window.shape):
                raise UsageError(f"{layer} is {values.shape}, the window wants {(bands, *window.shape)}")
            self._write(layer, window, values)

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the outputs are until they are finished."""
        return self._staging.folders

    def commit(self) -> None:
        """Finish the outputs and move them into place together."""
        self._finish()
        self._staging.commit()

    @abc.abstractmethod
    def _layers(self) -> Sequence[str]:
        """Return the layers that are written."""

    @abc.abstractmethod
    def _write(self, layer: str, window: Window, values: NDArray[Any]) -> None:
        """Write one window of one layer."""

    @abc.abstractmethod
    def _finish(self) -> None:
        """Close and check what was written."""

    @abc.abstractmethod
    def _abandon(self) -> None:
        """Close whatever is open; nothing of it is kept."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._abandon()
        finally:
            self._staging.discard()
