"""Leave-one-out residuals of several fields at once are those of each alone."""

import numpy as np
import pytest

from geonp.kriging.board import Pixels
from geonp.kriging.covariance import Covariance, Structure
from geonp.kriging.evidence import leave_one_out
from geonp.kriging.leftout import leave_out_all
from geonp.kriging.raster import RasterKriging
from geonp.kriging.solver import Solver
from geonp.kriging.survey import Block, Survey


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_several_fields_are_judged_as_each_alone(share: float) -> None:
    rng = np.random.default_rng(0)
    level = np.array([300.0, 0.0, -5.0])[:, None, None]
    fields = (rng.normal(size=(3, 70, 90)).cumsum(1) + level).astype("f4")
    seen = rng.random((70, 90)) < share
    solver = Solver(Covariance((Structure("matern32", 4.0, 200.0),), 0.05))
    window = Pixels(8, 5, 50, 60)
    blocks = [Block(0, 0, np.where(seen, one, np.float32(np.nan))) for one in fields]
    krigings = [RasterKriging((70, 90), (-30.0, 20.0), Survey.of([b], 10**6), solver) for b in blocks]
    assert krigings[0].exact == (share < 0.1)
    everywhere = fields[:, krigings[0].survey.rows, krigings[0].survey.cols].astype(float)
    together, spread = leave_out_all(krigings[0], blocks[0], fields, lambda: everywhere, window)
    for number, (kriging, block) in enumerate(zip(krigings, blocks, strict=True)):
        residual, variance = leave_one_out(kriging, block, window, (-30.0, 20.0))
        np.testing.assert_allclose(together[number], residual, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(spread, variance, rtol=1e-6)
    assert np.isfinite(spread[seen[8:58, 5:65]]).all()
