"""Completion on a cluster that runs already: windows are handed out to the workers of dask.distributed.

The method is prepared here, packed once, and fetched once by every worker, which unpacks it on its own device. A
window is sent with the pixels around it, so that no shared file system is needed; those of a remote raster
(`s3://`, `https://`) are read by the workers themselves. What a worker that dies was doing is done by another one.
"""

from __future__ import annotations

import dataclasses
import pickle
import sys
import time
import uuid
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from geonp import __version__
from geonp.blend import Layers
from geonp.completer import Given
from geonp.errors import GeonpError, GeonpWarning, UsageError
from geonp.field import Window, as_field
from geonp.io.paths import is_address, reason
from geonp.kriging.arrays import Device
from geonp.methods.base import Method, Place, Status
from geonp.mosaic import Mosaic, Piece
from geonp.predict import Completion, begin, collect

if TYPE_CHECKING:
    from distributed import Client, Future

INSTALL = "pip install 'geonp[cluster]'"
_AHEAD = 2
_CONNECTING, _STARTING, _PATIENCE, _LOOK = 10.0, 30.0, 60.0, 2.0
"""Seconds: to find a scheduler, until it has a worker, to live without any, and between two looks."""


def complete(
    survey: xr.DataArray,
    method: Method,
    *,
    client: Client | None = None,
    variance: bool = True,
    status: bool = False,
    tile: int | None = None,
    keep_observed: bool = True,
    keep_going: bool = False,
    retries: int = 2,
) -> xr.Dataset:
    """Complete a field on the workers of a dask.distributed cluster; the result comes back into memory.

    Parameters
    ----------
    survey, method, variance, status, tile, keep_observed : see `geonp.complete`.
    client : of the cluster; None is the one that is active.
    keep_going : mask a window that keeps failing, with a warning, instead of raising.
    retries : how often a window is tried again before it counts as failed.

    Returns
    -------
    Dataset
        As of `geonp.complete`: float32 (band, y, x), `mean` in the units of the field, `variance` in their square.

    Raises
    ------
    InputError, MethodError
        See `geonp.complete`.
    UsageError
        If dask.distributed is not installed, no client is active, or the workers have another geonp.
    GeonpError
        If a window keeps failing, or the cluster is gone.

    Warns
    -----
    GeonpWarning
        For windows that failed, with `keep_going`.
    """
    ready = begin(as_field(survey), method, variance=variance, tile=tile, keep_observed=keep_observed)
    workers = Workers(active() if client is None else client, keep_going, retries)
    out = collect(ready, ready.assemble(workers.completed(ready, ready.windows())), status=status)
    for failure in workers.failures:
        warnings.warn(f"{failure}; it is masked", GeonpWarning, stacklevel=2)
    return out


def active() -> Client:
    """Return the client that is active.

    Raises
    ------
    UsageError
        If dask.distributed is not installed, or no client is active.
    """
    with _installed():
        from distributed import get_client
    try:
        return get_client()
    except ValueError:
        raise UsageError(
            'no dask client is active; connect one: distributed.Client("tcp://host:8786")'
        ) from None


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Give a client of the scheduler at an address such as `tcp://host:8786`, for as long as it is used.

    Raises
    ------
    UsageError
        If dask.distributed is not installed, or no scheduler answers there.
    """
    with _installed():
        from distributed import Client
    try:
        client = Client(address, timeout=_CONNECTING, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"{address}: no dask scheduler answers ({reason(error)}); check host and port, or start one: dask scheduler"
        ) from None
    with client:
        yield client


@contextmanager
def _installed() -> Iterator[None]:
    try:
        yield
    except ImportError:
        raise UsageError(f"a cluster needs dask.distributed; {INSTALL}") from None


@dataclass(frozen=True)
class Failure:
    """A window that could not be completed, and why not."""

    window: Window
    why: str

    def __str__(self) -> str:
        """Return it in words."""
        (row, col), (stop_row, stop_col) = (self.window.row, self.window.col), self.window.stop
        return f"the window of rows {row} to {stop_row} and columns {col} to {stop_col} failed ({self.why})"


@dataclass
class Workers:
    """The workers of a cluster, ready to complete windows.

    Parameters
    ----------
    client : of the cluster.
    keep_going : mask a window that keeps failing, instead of raising.
    retries : how often a window is tried again before it counts as failed. A worker that dies is no failure of its
        window, unless the window kills one worker after the other (`distributed.scheduler.allowed-failures`), the
        second time with nothing else under way.
    failures : windows that were masked.

    Raises
    ------
    UsageError
        If there are no workers, or they have another version of geonp, or none.
    """

    client: Client
    keep_going: bool = False
    retries: int = 2
    failures: list[Failure] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = self.client.scheduler.address if self.client.scheduler else "the scheduler"
        try:
            self.client.wait_for_workers(1, timeout=_STARTING)
            found = self.client.get_versions(packages=["geonp"])["workers"]
        except (TimeoutError, OSError) as error:
            raise UsageError(
                f"{where}: has no workers ({reason(error)}); start some: dask worker {where}"
            ) from None
        for name, versions in found.items():
            version = versions["packages"].get("geonp")
            if version != __version__:
                raise UsageError(
                    f"the worker {name} has geonp {version or 'not installed'}, and this is {__version__}; "
                    "install the same version everywhere"
                )

    def completed(self, ready: Completion, windows: Sequence[Window]) -> Iterator[Layers]:
        """Yield windows of a run, completed, in their order; so many are under way that no worker has to wait.

        Raises
        ------
        GeonpError
            If a window keeps failing and `keep_going` is not set, or the cluster is gone.
        """
        run = _Run.of(self.client, ready, self.retries)
        todo, waiting = iter(windows), deque[tuple[Window, Any]]()
        try:
            while True:
                while len(waiting) < _AHEAD * max(run.threads, 1) and (window := next(todo, None)):
                    waiting.append((window, run.hand_out(window)))
                if not waiting:
                    return
                window, answer = waiting.popleft()
                beside = [later for _, later in waiting if not isinstance(later, Layers)]
                yield answer if isinstance(answer, Layers) else self._result(run, window, answer, beside)
        finally:
            run.end([answer for _, answer in waiting if not isinstance(answer, Layers)])

    def _result(self, run: _Run, window: Window, answer: Future, beside: Sequence[Future]) -> Layers:
        from distributed import KilledWorker

        try:
            try:
                return run.wait_for(answer)
            except KilledWorker:
                return run.alone(window, beside)
        except _ClusterGoneError as gone:
            raise GeonpError(f"{gone}; with --resume, what is finished is kept") from None
        except Exception as error:  # whatever a method, a reader or dask itself raises over there
            failure = Failure(window, f"{type(error).__name__}: {reason(error)}")
        if not self.keep_going:
            raise GeonpError(
                f"{failure}, tried {self.retries + 1} times; --keep-going (keep_going=True) masks such windows"
            )
        self.failures.append(failure)
        return _masked(run.ready, window)


class _ClusterGoneError(Exception):
    """The cluster cannot answer any more."""


@dataclass(frozen=True)
class _Run:
    """One completion on a cluster.

    Parameters
    ----------
    client : of the cluster.
    ready : what is completed.
    remote : whether the workers read the pixels themselves.
    packed : the method, packed, on the workers.
    resources : what a worker must have to complete a window: `GPU`, where workers declare GPUs.
    retries : how often a window is tried again.
    token : what makes names of tasks unique.
    """

    client: Client
    ready: Completion
    remote: bool
    packed: Future
    resources: dict[str, float] | None
    retries: int
    token: str

    @classmethod
    def of(cls, client: Client, ready: Completion, retries: int) -> _Run:
        token = uuid.uuid4().hex
        remote = is_address(str(ready.field.encoding.get("source", "")))
        sent = (
            ready if remote else replace(ready, field=Mosaic(ready.field.shape, ()).on_grid_of(ready.field))
        )
        data = pickle.dumps(sent, protocol=pickle.HIGHEST_PROTOCOL)
        # A task, and not scattered: what is lost with its worker is made again.
        with _large_tasks():
            packed = client.submit(bytes, data, key=f"geonp-method-{token}", retries=retries)
        declared = [w.get("resources") or {} for w in client.scheduler_info(n_workers=-1)["workers"].values()]
        on_gpu = device_of(ready) != "cpu" and any("GPU" in resources for resources in declared)
        return cls(client, ready, remote, packed, {"GPU": 1} if on_gpu else None, retries, token)

    @property
    def threads(self) -> int:
        """Windows that the workers complete at the same time."""
        return sum(self.client.nthreads().values())

    def hand_out(self, window: Window, attempt: int = 0) -> Future | Layers:
        """Send a window to the workers, or complete it, where nothing is to be filled."""
        given, completer = None, self.ready.completer()
        if not self.remote:
            read = completer.read(window)
            method = self.ready.method
            inside = read.values[:, *read.place.inside]
            if method is None or not (method.filters or np.isnan(inside).any()):
                return completer.complete(read)
            given = _Sent(read.place, Piece.packed(read.place.given, read.values), read.spacing)
        with _large_tasks():
            return self.client.submit(
                _complete,
                self.packed,
                window,
                given,
                key=f"geonp-window-{self.token}-{window.row}-{window.col}-{attempt}",
                retries=self.retries,
                resources=self.resources,
                pure=False,
            )

    def wait_for(self, answer: Future) -> Layers:
        """Return what a worker answers, or raise what it raised."""
        seen = time.monotonic()
        while True:
            try:
                done = answer.result(timeout=_LOOK)
            except TimeoutError:
                if answer.status == "error":  # of the task itself
                    raise
            else:
                assert isinstance(done, Layers)
                return done
            if answer.status == "cancelled" or self.client.status not in ("running", "connecting"):
                raise _ClusterGoneError("the connection to the scheduler is lost")
            if self.client.status == "running" and self.threads:
                seen = time.monotonic()
            elif time.monotonic() - seen > _PATIENCE:
                raise _ClusterGoneError(f"there has been no worker for {_PATIENCE:.0f} seconds")

    def alone(self, window: Window, under_way: Sequence[Future]) -> Layers:
        """Complete a window once more, after all that is under way.

        When a worker dies, dask holds every window against it that the worker had been given, guilty or not.
        """
        for other in under_way:
            with suppress(Exception):
                self.wait_for(other)
        answer = self.hand_out(window, attempt=1)
        assert not isinstance(answer, Layers)
        return self.wait_for(answer)

    def end(self, under_way: Sequence[Future]) -> None:
        """Withdraw what is not wanted any more."""
        if self.client.status == "running":
            self.client.cancel([*under_way, self.packed])


@dataclass(frozen=True, slots=True)
class _Sent:
    """A window as it was read (`geonp.completer.Given`), packed."""

    place: Place
    piece: Piece
    spacing: tuple[float, float]


def _complete(packed: bytes, window: Window, sent: _Sent | None) -> Layers:
    """Complete a window: what a worker does."""
    completer = _unpacked(packed).completer()
    if sent is None:
        return completer(window)
    return completer.complete(Given(sent.place, sent.piece.unpacked(), sent.spacing))


@lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Completion:
    """Return what was packed, on the device of this worker; once in a process."""
    ready = pickle.loads(packed)
    assert isinstance(ready, Completion)
    device = device_of(ready)
    return ready if device is None else replace(ready, method=moved(ready.method, Device.called(device)))


def device_of(ready: Completion) -> str | None:
    """Return where a method was asked to run (`auto`, `cpu`, `cuda`); None where it has no choice."""
    device = getattr(ready.method, "device", None)
    return device if isinstance(device, str) else None


def moved(thing: Any, device: Device) -> Any:
    """Return a method, or a part of one, with all that it holds on `device`."""
    if isinstance(thing, Device):
        return device
    torch = sys.modules.get("torch")  # where it is not loaded, nothing of it can be held
    if torch is not None:
        place = device.torch or torch.device("cpu")
        if isinstance(thing, torch.device):
            return place
        if isinstance(thing, torch.nn.Module | torch.Tensor):
            return thing.to(place)
    if type(thing) is tuple:
        return tuple(moved(part, device) for part in thing)
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        parts = {f.name: getattr(thing, f.name) for f in dataclasses.fields(thing) if f.init}
        new = {name: moved(part, device) for name, part in parts.items()}
        changed = {name: part for name, part in new.items() if part is not parts[name]}
        return replace(thing, **changed) if changed else thing
    return thing


def _masked(ready: Completion, window: Window) -> Layers:
    shape = (ready.field.sizes["band"], *window.shape)
    nothing = np.full(shape, np.nan, np.float32)
    status = np.full(shape, Status.MASKED, np.uint8)
    return Layers(window, nothing, nothing.copy() if ready.variance else None, status)


@contextmanager
def _large_tasks() -> Iterator[None]:
    """Windows and methods have megabytes; that is meant to be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")
        yield
