"""What a measurement free of error would find where one was made that may be off.

An observation z = S + N + E has the latent field S, the nugget's share N, which belongs to the observable, and the
error E of its measurement. Kriging estimates S from all observations, with nugget + error as the variance of each one's
noise (Rasmussen and Williams 2006, section 2.2). Of what the observation differs from that estimate N is the part
nugget / (nugget + error), since their variances share it out: with Q as in `geonp.kriging.system`, N + E is estimated
by (nugget + error) [Q z]_i and E by error [Q z]_i. The variance of what is left of E is error - error^2 Q_ii, in which
Q_ii follows from the variance of S in the same way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def remeasure(
    mean: Array, variance: Array, values: Array, errors: Array, nugget: float
) -> tuple[Array, Array]:
    """Return mean and variance of the observable, free of error, at places that were observed.

    An observation without error stays what it is, with variance 0; of one whose error is endless nothing is left but
    what kriging says of a place that was not observed.

    Parameters
    ----------
    mean, variance : (N,), of the latent field, kriged from all observations, these included; means of several fields
        may be (R, N).
    values : (N,), what was observed, or (R, N).
    errors : (N,), variances of the errors, finite and not negative.
    nugget : of the covariance.
    """
    noise = nugget + errors
    share = np.divide(errors, noise, out=np.zeros_like(noise), where=noise > 0)
    return values + share * (mean - values), share**2 * variance + share * nugget
