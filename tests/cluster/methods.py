"""Methods that get into trouble on purpose; the workers import them."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from scipy.ndimage import distance_transform_edt

from geonp.methods.base import Completed, Method, Place, Values


@dataclass(frozen=True, kw_only=True)
class Troubled(Method):
    """The nearest observation, plus the row of the window; trouble in windows that hold the pixel (`row`, `col`).

    Parameters
    ----------
    trouble : "raise", "kill" (the worker), or "sleep".
    times : how often, counted by files in `folder`; -1 is always.
    overlap : pixels of blending.
    """

    name: ClassVar[str] = "troubled"
    has_variance: ClassVar[bool] = True

    trouble: str = "raise"
    folder: str = ""
    times: int = -1
    row: int = 40
    col: int = 40
    overlap: int = 0

    @property
    def halo(self) -> int:
        return 12

    @property
    def feather(self) -> int:
        return self.overlap

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        wanted = place.wanted
        inside = wanted.row <= self.row < wanted.stop[0] and wanted.col <= self.col < wanted.stop[1]
        if inside and self._again():
            if self.trouble == "kill":
                time.sleep(0.3)  # so that other windows wait behind this one
                os.kill(os.getpid(), signal.SIGKILL)
            if self.trouble == "raise":
                raise RuntimeError("too hot\nin here")
            time.sleep(60)
        mean = np.empty_like(values)
        for band, given in enumerate(values):
            nearest = distance_transform_edt(np.isnan(given), return_distances=False, return_indices=True)
            mean[band] = given[tuple(nearest)]
        mean = mean[:, *place.inside] + np.float32(wanted.row)
        return Completed(mean, np.full_like(mean, 2.0))

    def _again(self) -> bool:
        if self.times < 0:
            return True
        folder = Path(self.folder)
        count = len(list(folder.iterdir()))
        if count >= self.times:
            return False
        (folder / f"{count}").touch()
        return True
