import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geonp.errors import InputError, UsageError
from geonp.masks import (
    Context,
    HoldOut,
    MaskKind,
    Mixture,
    blocks,
    borrowed_gaps,
    choose,
    clouds,
    draw_context,
    hold_out,
    parse_context,
    parse_masks,
    swaths,
    transects,
)

SHAPE = (40, 56)
seeds = st.integers(0, 2**32 - 1)
fractions = st.floats(0.02, 0.95)
calm = settings(deadline=None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# --- how many ---


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("0.125", Context(0.125, 0.125)),
        (".5", Context(0.5, 0.5)),
        ("1e-3", Context(0.001, 0.001)),
        (0.25, Context(0.25, 0.25)),
        ("200", Context(0, 0, 200)),
        (1, Context(0, 0, 1)),
        ("0.02:0.3", Context(0.02, 0.3)),
        (" 0.02 : 0.3 ", Context(0.02, 0.3)),
    ],
)
def test_a_context_is_a_fraction_a_count_or_a_range(text, context):
    assert parse_context(text) == context


@pytest.mark.parametrize(
    "text",
    ["0", "0.0", "1.0", "1.5", "-1", "-0.1", "", "a", "12.5%", "0.3:0.02", "0.1:", ":0.1", "0.1:1", "10:20",
     "0.1:0.2:0.3", "nan", "inf", "1_0", "+3", "0x10", "True"],
)  # fmt: skip
def test_anything_else_is_refused_with_the_three_forms(text):
    with pytest.raises(UsageError) as error:
        parse_context(text)
    assert repr(text) in str(error.value)
    assert all(form in str(error.value) for form in ("0.125", "200", "0.02:0.3"))


@calm
@given(st.one_of(
    st.integers(1, 10**6).map(lambda n: Context(0, 0, n)),
    st.tuples(st.floats(1e-6, 0.999), st.floats(1e-6, 0.999)).map(lambda x: Context(min(x), max(x))),
))  # fmt: skip
def test_the_text_of_a_context_is_read_back(context):
    assert parse_context(str(context)) == context


@calm
@given(st.floats(0.001, 0.999), st.floats(0.001, 0.999), st.integers(1, 5000), seeds)
def test_a_draw_lies_within_its_range(a, b, pixels, seed):
    low, high = sorted((a, b))
    drawn = Context(low, high).draw(rng(seed), pixels)
    assert 1 <= drawn <= pixels
    assert max(round(low * pixels), 1) <= drawn <= max(round(high * pixels), 1)


def test_counts_are_met_as_far_as_there_are_pixels():
    assert Context(0, 0, 50).draw(rng(), 200) == 50
    assert Context(0, 0, 50).draw(rng(), 20) == 20
    assert Context(0.5, 0.5).draw(rng(), 0) == 0
    assert Context(0, 0, 50).fractions(200) == (0.25, 0.25)
    assert Context(0.1, 0.3).fractions(200) == (0.1, 0.3)


def test_a_range_is_drawn_log_uniformly():
    generator = rng()
    drawn = [Context(0.01, 0.64).draw(generator, 10**6) / 1e6 for _ in range(4000)]
    # Each factor of two holds a sixth of the draws.
    shares = np.histogram(np.log2(drawn), bins=np.log2(0.01) + np.arange(7))[0] / 4000
    assert np.abs(shares - 1 / 6).max() < 4 * math.sqrt(1 / 6 * 5 / 6 / 4000)


# --- where ---


@calm
@given(st.integers(0, 40 * 56), seeds)
def test_chosen_pixels_are_exactly_as_many(count, seed):
    assert choose(np.ones(SHAPE, bool), count, rng(seed)).sum() == count


def test_chosen_pixels_are_everywhere_equally_often():
    generator = rng()
    often = sum(choose(np.ones((8, 8), bool), 16, generator).astype(int) for _ in range(2000)) / 2000
    assert np.abs(often - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 2000)


@calm
@given(st.integers(1, 45).map(lambda n: n / 50), seeds, st.integers(0, 180))
def test_transects_cross_every_row_or_column_equally_often(fraction, seed, heading):
    mask = transects((64, 64), fraction, rng(seed), heading)
    assert mask.any()
    steep = abs(math.cos(math.radians(heading))) >= abs(math.sin(math.radians(heading)))
    counts = mask.sum(1 if steep else 0)
    # Lines one pixel wide, 1 / fraction apart: every row that they cross has one pixel of each.
    assert counts.max() <= math.ceil(64 * fraction + 1e-3)
    assert counts.min() >= math.floor(64 * fraction - 1e-3)


def test_transects_follow_their_heading():
    along_columns = transects(SHAPE, 0.125, rng(), heading=0)
    assert (along_columns == along_columns[0]).all()
    assert (np.diff(np.flatnonzero(along_columns[0])) == 8).all()
    along_rows = transects(SHAPE, 0.125, rng(), heading=90)
    assert (along_rows == along_rows[:, :1]).all()
    rising = transects((32, 32), 0.125, rng(), heading=45)
    # 45 degrees clockwise from up: one to the right for each row up.
    assert (rising[:-1, 1:] == rising[1:, :-1]).all()
    assert rising.sum() == 32 * 4


def test_a_tile_narrower_than_the_lines_are_apart_is_still_crossed():
    assert all(transects((16, 16), 0.001, rng(seed)).any() for seed in range(50))


@calm
@given(st.integers(1, 12), fractions, seeds)
def test_swath_gaps_have_their_width_and_leave_their_share(width, fraction, seed):
    mask = swaths((8, 4000), fraction, rng(seed), width, heading=0)
    assert (mask == mask[0]).all()
    label, gaps = ndimage.label(~mask[0])
    sizes = np.bincount(label)[1:]
    assert gaps >= 1
    if gaps > 2 and width / (1 - fraction) - width >= 1:
        assert np.abs(sizes[1:-1] - width).max() <= 1
    assert mask.mean() == pytest.approx(fraction, abs=2 * width / (1 - fraction) / 4000)


@calm
@given(fractions, st.integers(1, 12), st.integers(0, 12), seeds)
def test_blocks_hide_no_more_than_a_row_too_many(fraction, least, more, seed):
    mask = blocks(SHAPE, fraction, rng(seed), (least, least + more))
    surplus = mask.sum() - round(fraction * mask.size)
    assert -(least + more) < surplus <= 0


def test_blocks_are_rectangles_of_the_sides_asked_for():
    mask = blocks((200, 200), 0.999, rng(3), (5, 8))
    label, _ = ndimage.label(~mask)
    first = ndimage.find_objects(label)[0]
    assert (~mask[first]).all()
    assert all(side.stop - side.start <= 8 for side in first)


@calm
@given(fractions, st.floats(0.5, 8), seeds)
def test_clouds_leave_exactly_their_share(fraction, scale, seed):
    assert clouds(SHAPE, fraction, rng(seed), scale).sum() == round(fraction * 40 * 56)


def test_clouds_are_as_large_as_their_scale():
    edges = [
        np.mean([np.diff(clouds((64, 64), 0.5, rng(seed), scale)).mean() for seed in range(10)])
        for scale in (0.5, 2, 4, 8, 16)
    ]
    assert (np.diff(edges) < 0).all()
    assert edges[-1] < 0.12 < 0.4 < edges[0]


def test_borrowed_gaps_are_a_window_of_the_donor_in_one_of_eight_orientations():
    donor = rng(1).random((12, 15)) < 0.5
    for seed in range(20):
        mask = borrowed_gaps((6, 4), donor, rng(seed))
        turned = [np.rot90(m, k) for m in (mask, mask[:, ::-1]) for k in range(4)]
        assert mask.shape == (6, 4)
        assert any(
            np.array_equal(donor[r : r + t.shape[0], c : c + t.shape[1]], t)
            for t in turned
            for r in range(12 - t.shape[0] + 1)
            for c in range(15 - t.shape[1] + 1)
        )


def test_a_small_donor_is_mirrored_and_a_window_with_gaps_is_looked_for():
    donor = np.ones((100, 100), bool)
    donor[:40] = False
    assert borrowed_gaps((16, 16), np.zeros((3, 3), bool), rng()).shape == (16, 16)
    mixed = [borrowed_gaps((16, 16), donor, rng(seed)) for seed in range(50)]
    assert np.mean([m.any() and not m.all() for m in mixed]) > 0.8


PATTERNS = {
    "random": lambda g: choose(np.ones(SHAPE, bool), 100, g),
    "transects": lambda g: transects(SHAPE, 0.1, g),
    "swaths": lambda g: swaths(SHAPE, 0.5, g, 5),
    "blocks": lambda g: blocks(SHAPE, 0.5, g, (3, 9)),
    "clouds": lambda g: clouds(SHAPE, 0.5, g, 5),
    "borrowed": lambda g: borrowed_gaps(SHAPE, rng(9).random((80, 80)) < 0.5, g),
    **{
        kind: lambda g, kind=kind: hold_out(kind, clouds(SHAPE, 0.7, rng(9), 4), 0.3, g, 6)
        for kind in HoldOut
    },
}


@pytest.mark.parametrize("draw", PATTERNS.values(), ids=PATTERNS)
def test_the_same_seed_gives_the_same_mask_and_another_seed_another(draw):
    first = draw(rng(5))
    assert first.dtype == bool
    assert first.shape == SHAPE
    assert np.array_equal(first, draw(rng(5)))
    assert any(not np.array_equal(first, draw(rng(seed))) for seed in range(6, 10))


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(fraction):
    with pytest.raises(UsageError, match=r"outside \(0, 1\]"):
        clouds(SHAPE, fraction, rng(), 4)


# --- mixtures ---


@calm
@given(st.sampled_from(MaskKind), fractions, seeds, st.booleans())
def test_a_context_lies_among_the_known_pixels_and_has_its_count(kind, fraction, seed, holey):
    known = clouds(SHAPE, 0.6, rng(seed), 5) if holey else np.ones(SHAPE, bool)
    count = max(round(fraction * known.sum()), 1)
    mask = draw_context(kind, known, count, rng(seed), donor=clouds((80, 90), 0.6, rng(1), 9))
    assert not (mask & ~known).any()
    assert mask.any()
    if kind is MaskKind.RANDOM:
        assert mask.sum() == count
    if kind is not MaskKind.TRANSECTS:
        assert mask.sum() <= count


@pytest.mark.parametrize("kind", [MaskKind.SWATHS, MaskKind.BLOCKS, MaskKind.CLOUDS])
def test_sparse_contexts_around_holes_have_exactly_their_count(kind):
    known = np.ones((64, 64), bool)
    drawn = [draw_context(kind, known, 400, rng(seed)) for seed in range(30)]
    assert {int(mask.sum()) for mask in drawn} == {400}
    # Holes: some pixel is farther from the context than random pixels of this density ever leave it.
    reach = [ndimage.distance_transform_edt(~mask).max() for mask in drawn]
    plain = [ndimage.distance_transform_edt(~choose(known, 400, rng(s))).max() for s in range(30)]
    assert np.median(reach) > np.median(plain) + 1


def test_no_known_pixel_gives_an_empty_context():
    for kind in (MaskKind.RANDOM, MaskKind.BLOCKS, MaskKind.TRANSECTS):
        assert not draw_context(kind, np.zeros(SHAPE, bool), 10, rng()).any()


def test_gaps_need_a_donor():
    with pytest.raises(UsageError, match="gaps to borrow"):
        draw_context(MaskKind.GAPS, np.ones(SHAPE, bool), 10, rng())


def test_a_mixture_is_drawn_by_its_weights_and_read_back_from_its_text():
    mixture = parse_masks("random:3, blocks,clouds:0.5")
    assert mixture == Mixture((MaskKind.RANDOM, MaskKind.BLOCKS, MaskKind.CLOUDS), (3, 1, 0.5))
    assert parse_masks(str(mixture)) == mixture
    generator = rng()
    drawn = [mixture.draw(generator) for _ in range(4500)]
    for kind, share in zip(mixture.kinds, (3 / 4.5, 1 / 4.5, 0.5 / 4.5), strict=True):
        assert drawn.count(kind) / 4500 == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("text", ["", "lines", "random:", "random:x", "random,,blocks", "random:-1"])
def test_unknown_masks_are_refused_with_the_known_ones(text):
    if text == "random:":
        assert parse_masks(text) == Mixture((MaskKind.RANDOM,), (1.0,))
        return
    with pytest.raises(UsageError, match="random, transects, swaths, blocks, clouds, gaps"):
        parse_masks(text)


def test_weights_must_fit_their_kinds():
    with pytest.raises(UsageError, match="one > 0 for each"):
        Mixture((MaskKind.RANDOM,), (1, 2))
    with pytest.raises(UsageError, match="one > 0 for each"):
        parse_masks("random:0")
    with pytest.raises(UsageError, match="no kind"):
        Mixture(())


# --- hold-outs ---


@calm
@given(st.sampled_from(HoldOut), fractions, st.floats(0.05, 0.9), st.integers(2, 12), seeds)
def test_a_hold_out_is_a_part_of_the_observed_pixels_and_leaves_some(kind, fraction, density, side, seed):
    observed = clouds(SHAPE, density, rng(seed), 3)
    held = hold_out(kind, observed, fraction, rng(seed), side)
    goal = min(max(round(fraction * observed.sum()), 1), observed.sum() - 1)
    assert not (held & ~observed).any()
    assert held.any()
    assert (observed & ~held).any()
    if kind in (HoldOut.RANDOM, HoldOut.GAPS):
        assert held.sum() == goal
    if kind is HoldOut.BLOCKS:
        assert held.sum() < goal + side**2


def test_held_out_blocks_are_whole():
    observed = np.ones(SHAPE, bool)
    for seed in range(10):
        held = hold_out(HoldOut.BLOCKS, observed, 0.3, rng(seed), side=7)

        def whole(up: int, left: int, held=held) -> bool:
            padded = np.pad(held, ((up, 14), (left, 14)), mode="constant")
            inside = np.pad(observed, ((up, 14), (left, 14)), mode="constant")
            for r in range(0, SHAPE[0] + up, 7):
                for c in range(0, SHAPE[1] + left, 7):
                    block = padded[r : r + 7, c : c + 7][inside[r : r + 7, c : c + 7]]
                    if block.size and block.any() != block.all():
                        return False
            return True

        assert any(whole(up, left) for up in range(7) for left in range(7))
        assert held.mean() == pytest.approx(0.3, abs=49 / observed.size)


def test_held_out_swaths_run_across_the_raster():
    for seed in range(10):
        held = hold_out(HoldOut.SWATHS, np.ones((60, 60), bool), 0.25, rng(seed), side=6)
        assert held.sum() >= 900
        # Whole stripes: they reach the edge, and so few hold a quarter that they must be long.
        label, count = ndimage.label(held, np.ones((3, 3)))
        edge = np.concatenate([label[0], label[-1], label[:, 0], label[:, -1]])
        assert count <= 6
        assert set(range(1, count + 1)) <= set(edge.tolist())


def test_held_out_gaps_have_the_shape_of_the_rasters_own():
    observed = np.ones((60, 60), bool)
    observed[20:25, 30:37] = False
    for seed in range(10):
        held = hold_out(HoldOut.GAPS, observed, 35 / (3600 - 35), rng(seed))
        assert held.sum() == 35
        # Rolled round the edges, it is a rectangle of 5 x 7 less what fell on the gap itself.
        rows, cols = np.flatnonzero(held.any(1)), np.flatnonzero(held.any(0))
        if np.ptp(rows) == 4 and np.ptp(cols) == 6:
            break
    assert held[np.ix_(rows, cols)].all()


def test_what_cannot_be_divided_is_refused():
    one = np.zeros(SHAPE, bool)
    one[3, 4] = True
    with pytest.raises(InputError, match="1 observed pixels"):
        hold_out(HoldOut.RANDOM, one, 0.5, rng())
    one[3, 5] = True
    with pytest.raises(InputError, match="smaller"):
        hold_out(HoldOut.BLOCKS, one, 0.5, rng(0), side=500)
    with pytest.raises(InputError, match="no gaps"):
        hold_out(HoldOut.GAPS, np.ones(SHAPE, bool), 0.5, rng())
    with pytest.raises(UsageError, match="share"):
        hold_out(HoldOut.RANDOM, np.ones(SHAPE, bool), 0, rng())
