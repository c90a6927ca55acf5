"""Points that stand for areas, whose average is to be predicted (block kriging)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geonp.errors import UsageError


def rectangles(centres: ArrayLike, size: tuple[float, float], per_side: int = 4) -> NDArray[np.float64]:
    """Return points (M, Q, 2) that stand for M equal rectangles; give them to `PointKriging.average`.

    Parameters
    ----------
    centres : (M, 2), (y, x).
    size : height and width, in the unit of the coordinates.
    per_side : points along each side, at the middles of equal cells; 4 suffices for rectangles no larger than
        the range (Journel and Huijbregts 1978, section II.D.4).

    Raises
    ------
    UsageError
        If a size is not positive, or there is no point.
    """
    if per_side < 1 or min(size) <= 0:
        raise UsageError(
            f"a rectangle needs a positive size and at least 1 point a side, got {size}, {per_side}"
        )
    middle = (np.arange(per_side) + 0.5) / per_side - 0.5
    offset = np.stack(np.meshgrid(middle * size[0], middle * size[1], indexing="ij"), -1).reshape(1, -1, 2)
    return np.asarray(centres, np.float64)[:, None] + offset
