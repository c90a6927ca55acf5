"""External drift of kriging: covariates that are known wherever they are looked at."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from geonp.covariates import Covariates, Values
from geonp.errors import InputError
from geonp.field import Window


class Drift(Covariates):
    """Covariates (`geonp.covariates`) without holes."""

    word: ClassVar[str] = "drift"

    def window(self, window: Window) -> Values:
        """Return the covariates (q, rows, columns) at the pixels of a window.

        Raises
        ------
        InputError
            If a raster does not cover the window, or has holes there.
        """
        parts = []
        for source in self.sources:
            values = source.window(window)
            if (unknown := ~np.isfinite(values)).any():
                row, col = np.argwhere(unknown.any(0))[0] + [window.row, window.col]
                raise InputError(
                    f"the drift {source.name} is not known at {int(unknown.any(0).sum())} of "
                    f"{window.height * window.width} pixels looked at (the first in row {row}, column {col}): it "
                    "must cover the whole survey without holes; fill or extend it, crop the survey (--bounds), or "
                    "give it as a covariate (--covariate), which may have holes"
                )
            parts.append(values)
        return np.concatenate(parts)
