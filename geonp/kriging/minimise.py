"""A quasi-Newton minimiser for a handful of bounded parameters.

SciPy's that keep to bounds cannot begin with what another search learnt of the curvature, and that is what makes the
long search of a fit short.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LONGEST = 2.0
_FIRST = 0.5
_SUFFICIENT = 1e-4
_HALVINGS = 12
_PROMISED = 0.1
"""What a step must promise of what it must gain; the parabola that was learnt may err."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """Where a search ended.

    Parameters
    ----------
    x : (P,) parameters.
    inverse : (P, P) what was learnt of the inverse Hessian; None where no step was taken.
    """

    x: Array
    inverse: Array | None


def minimise(
    objective: Callable[[Array], tuple[float, Array]],
    start: Array,
    low: Array,
    high: Array,
    *,
    rounds: int,
    tolerance: float,
    inverse: Array | None = None,
) -> Minimum:
    """Return a local minimum within bounds, by BFGS on the parameters that are free to move.

    Nocedal and Wright (2006), algorithm 6.1 with backtracking; a parameter at a bound that the gradient pushes
    outwards stays there (Bertsekas 1982, SIAM J. Control Optim. 20(2)).

    Parameters
    ----------
    objective : returns value and gradient; the value may be infinite away from the start.
    start : (P,) within the bounds; parameters are scaled so that a step of one is a large one.
    low, high : (P,) bounds.
    rounds : most steps.
    tolerance : stop when a step lowers the value by less than this, would by less than a tenth of it by the parabola
        that was learnt, or the free gradient is smaller.
    inverse : (P, P) inverse Hessian to begin with, from the search of a function much like this one.
    """
    x = np.clip(start, low, high)
    value, gradient = objective(x)
    for _ in range(rounds):
        free = ~(((x <= low) & (gradient > 0)) | ((x >= high) & (gradient < 0)))
        if not free.any() or np.abs(gradient[free]).max() < tolerance:
            break
        step = _direction(gradient, free, inverse)
        if inverse is not None and -float(gradient @ step) / 2 < _PROMISED * tolerance:
            break
        ahead, after, slope = x, value, gradient
        length = 1.0
        for _ in range(_HALVINGS):
            ahead = np.clip(x + length * step, low, high)
            after, slope = objective(ahead)
            if after <= value + _SUFFICIENT * float(gradient @ (ahead - x)):
                break
            # The lowest point of the parabola through both values and the slope.
            drop = -float(gradient @ step) * length
            length *= float(np.clip(drop / (2 * (after - value + drop)), 0.1, 0.5)) if after < np.inf else 0.1
        else:
            break
        moved, turned = ahead - x, slope - gradient
        gained = value - after
        inverse = _updated(inverse, moved, turned)
        x, value, gradient = ahead, after, slope
        if gained < tolerance:
            break
    return Minimum(x, inverse)


def _direction(gradient: Array, free: NDArray[np.bool_], inverse: Array | None) -> Array:
    step: Array = np.zeros_like(gradient)
    if inverse is not None:
        step[free] = -inverse[np.ix_(free, free)] @ gradient[free]
    if inverse is None or gradient @ step >= 0:
        step[free] = -gradient[free] * (_FIRST / np.abs(gradient[free]).max())
    return np.asarray(step * min(1.0, _LONGEST / float(np.abs(step).max())))


def _updated(inverse: Array | None, moved: Array, turned: Array) -> Array | None:
    """Return the inverse Hessian after a step; unchanged where the curvature along it was not positive."""
    curvature = float(moved @ turned)
    if curvature <= 1e-12:
        return inverse
    one = np.eye(len(moved))
    before = one * (curvature / float(turned @ turned)) if inverse is None else inverse
    left = one - np.outer(moved, turned) / curvature
    return np.asarray(left @ before @ left.T + np.outer(moved, moved) / curvature)
