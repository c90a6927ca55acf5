"""The network's arithmetic: half the digits where the processor is twice as fast, and none where nothing is seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geonp.kriging.features import Kriged
from geonp.methods import correction
from geonp.methods.correction import Correction
from geonp.methods.flagship import read_network

SIDE = 128


@pytest.fixture(scope="module")
def look() -> Correction:
    return Correction(read_network(), orientations=2)


def canvas(share: float) -> Kriged:
    rng = np.random.default_rng(0)
    seen = torch.from_numpy((rng.random((SIDE, SIDE)) < share).astype("f4"))[None, None]
    rough = torch.from_numpy(rng.standard_normal((SIDE, SIDE)).astype("f4"))[None, None]
    layers = (seen, rough.cumsum(3), 0.5 + rough.abs(), rough * seen, seen, 0 * rough, torch.ones_like(seen))
    return Kriged(*layers)


def test_half_the_digits_change_little(look: Correction, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers differ by hundredths of kriging's deviation, and not on one side."""
    found = {}
    for halved in (False, True):
        monkeypatch.setattr(correction, "bfloat16_pays", lambda halved=halved: halved)
        assert look.halved == halved
        found[halved] = look(canvas(0.125), [0.1], (30.0, 30.0))
    shift, factor = (half - full for half, full in zip(found[True], found[False], strict=True))
    assert 0 < shift.abs().mean() < 0.01
    assert shift.abs().max() < 0.1
    assert abs(shift.mean()) < 0.003
    assert (factor / found[False][1]).abs().max() < 0.1


def test_where_nothing_is_observed_the_network_is_not_asked(look: Correction) -> None:
    asked = replace(look, model=lambda task: pytest.fail("asked"))  # type: ignore[arg-type]
    shift, factor = asked(canvas(0), [0.1], (30.0, 30.0))
    assert (shift == 0).all()
    assert (factor == 1).all()
    assert shift.shape == factor.shape == (1, SIDE, SIDE)
    # As it would have answered: not believed at all.
    assert look._belief(canvas(0).observed).abs().max() == 0
