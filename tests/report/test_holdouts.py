"""Hold-outs that resemble the gaps."""

import numpy as np
import pytest

from geonp.errors import InputError
from geonp.masks import HoldOut, blocks, clouds
from geonp.report.hidden import distance_to_seen
from geonp.report.holdouts import SHARE, like_the_gaps

SHAPE = (160, 160)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_random_survey_has_single_pixels_hidden() -> None:
    observed = rng().random(SHAPE) < 0.1
    chosen = like_the_gaps(observed, (30, 30), rng(1))
    assert chosen.kind is HoldOut.RANDOM
    assert chosen.distance == chosen.missing


@pytest.mark.parametrize(
    "observed", [clouds(SHAPE, 0.6, rng(), 16), blocks(SHAPE, 0.9, rng(), (30, 40))], ids=["clouds", "void"]
)
def test_wide_gaps_have_wide_parts_hidden(observed: np.ndarray) -> None:
    chosen = like_the_gaps(observed, (30, 30), rng(1))
    assert chosen.kind is not HoldOut.RANDOM
    assert chosen.missing / 2 < chosen.distance < chosen.missing * 2
    single = distance_to_seen(observed & (rng().random(SHAPE) > SHARE), (30, 30))
    assert chosen.distance > 2 * np.median(single[observed & (single > 0)])


def test_hidden_pixels_are_a_share_of_those_observed() -> None:
    observed = clouds(SHAPE, 0.6, rng(), 16)
    chosen = like_the_gaps(observed, (30, 30), rng())
    assert not (chosen.hidden & ~observed).any()
    assert chosen.hidden.sum() / observed.sum() == pytest.approx(SHARE, abs=0.02)


def test_the_same_seed_hides_the_same_pixels() -> None:
    observed = clouds(SHAPE, 0.6, rng(), 16)
    first, again = (like_the_gaps(observed, (30, 30), rng(5)).hidden for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_without_gaps_blocks_are_hidden() -> None:
    chosen = like_the_gaps(np.ones(SHAPE, bool), (30, 30), rng())
    assert chosen.kind is HoldOut.BLOCKS
    assert np.isnan(chosen.missing)


def test_a_tiny_full_raster_has_single_pixels_hidden_and_one_pixel_none() -> None:
    assert like_the_gaps(np.ones((3, 3), bool), (30, 30), rng()).kind is HoldOut.RANDOM
    with pytest.raises(InputError, match="1 observed"):
        like_the_gaps(np.ones((1, 1), bool), (30, 30), rng())


def test_a_small_survey_is_hidden_in_turns() -> None:
    observed = rng().random(SHAPE) < 0.01
    chosen = like_the_gaps(observed, (30, 30), rng())
    assert 4 <= len(chosen.masks) <= 6
    assert np.sum(chosen.masks, axis=0).max() == 1
    assert chosen.hidden.sum() > 0.4 * observed.sum()
    assert len(like_the_gaps(rng().random(SHAPE) < 0.2, (30, 30), rng()).masks) == 1
