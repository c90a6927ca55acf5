"""Arrays of NumPy's on the processor, of torch's on a GPU: where they are, and how they get there.

The code that kriges is the same for both (the array API standard says how). The processor does without torch, whose
loading alone takes longer than kriging a raster of 256 x 256 pixels.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace
from numpy.typing import NDArray

from geonp.errors import UsageError

if TYPE_CHECKING:
    import torch

Array = Any
"""An array of NumPy's or of torch's; all that meet in one operation are of one kind, and on one device."""


def namespace(array: Array) -> Any:
    """Return the functions for an array, under the names of the array API standard."""
    return array_namespace(array)


@dataclass(frozen=True, slots=True)
class Device:
    """Where arrays are.

    Parameters
    ----------
    torch : the device of torch's arrays; None is the processor, with NumPy's.
    """

    torch: torch.device | None = None

    @property
    def processor(self) -> bool:
        """Whether arrays lie in the memory of the processor."""
        return self.torch is None or self.torch.type == "cpu"

    def send(self, array: NDArray[Any]) -> Array:
        """Return an array of NumPy's on the device; on the processor it may be the same one."""
        if self.torch is None:
            return array
        import torch

        return torch.from_numpy(np.ascontiguousarray(array)).to(self.torch)

    @classmethod
    def called(cls, name: str) -> Device:
        """Return the device called `name`; "auto" is a GPU where there is one.

        Raises
        ------
        UsageError
            If there is no such device.
        """
        found = device_called(name)
        if found == "cpu":
            return PROCESSOR
        import torch

        return cls(torch.device(found))


PROCESSOR = Device()


def fetch(array: Array) -> NDArray[Any]:
    """Return an array as one of NumPy's, from wherever it lies."""
    return array if isinstance(array, np.ndarray) else np.asarray(array.cpu().numpy())


def cast(array: Array, dtype: str) -> Array:
    """Return an array in a type ("float64", "float32"); the array itself where it is of that type."""
    xp = namespace(array)
    return xp.astype(array, getattr(xp, dtype), copy=False)


def device_called(name: str) -> str:
    """Return torch's name of the device called `name` ("cpu", "cuda", "cuda:1"); "auto" is a GPU where there is one.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    if name == "cpu" or (name == "auto" and not _gpu()):
        return "cpu"
    if name == "auto":
        return "cuda"
    if name.split(":")[0] == "cuda" and _gpu():
        return name
    found = "cpu, cuda" if _gpu() else "cpu alone"
    raise UsageError(f"there is no device {name!r} here ({found}); use device='auto' for the best there is")


def _gpu() -> bool:
    """Return whether there is a GPU that torch can use; torch is asked only where there is a driver."""
    if "torch" not in sys.modules and not _driver():
        return False
    import torch

    return torch.cuda.is_available()


def _driver() -> bool:
    """Return whether a driver of NVIDIA's or AMD's is installed."""
    if os.path.exists("/dev/kfd"):
        return True
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


def places(index: Array) -> Array:
    """Return indices in the type in which `look_up` is fastest: 32 bits in torch, NumPy's own in NumPy."""
    return index if isinstance(index, np.ndarray) else index.int()


def look_up(table: Array, index: Array) -> Array:
    """Return the elements of a table (n,) at indices of any shape."""
    if isinstance(table, np.ndarray):
        return table.take(index)
    return table.index_select(0, index.reshape(-1)).reshape(index.shape)
