import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geonp.errors import InputError
from geonp.field import Window
from geonp.split import Cell, centre, crop, overlap, split_rasters

shapes = st.lists(st.tuples(st.integers(8, 90), st.integers(8, 90)), min_size=1, max_size=7)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def area(cells: tuple[Cell, ...]) -> int:
    return sum(cell.window.height * cell.window.width for cell in cells)


@settings(deadline=None)
@given(shapes, st.integers(4, 24), st.integers(0, 10**6))
def test_no_training_crop_meets_a_validation_cell(shapes, size, seed):
    try:
        split = split_rasters(shapes, size, rng(seed), lambda cell: True)
    except InputError:
        assert len(shapes) == 1
        assert max(shapes[0]) < 2 * size
        return
    assert split.training
    assert split.validation
    # Cells cover every raster once.
    cover = [np.zeros(shape, int) for shape in shapes]
    for cell in split.training + split.validation:
        rows, cols = cell.window.within(Window.whole(shapes[cell.raster]))
        cover[cell.raster][rows, cols] += 1
    assert all((c == 1).all() for c in cover)
    generator = rng(seed)
    for raster in {cell.raster for cell in split.training}:
        for _ in range(5):
            window = split.training_window(raster, generator)
            assert window.shape == (min(size, shapes[raster][0]), min(size, shapes[raster][1]))
            assert overlap(window, Window.whole(shapes[raster]))
            for cell in split.validation:
                assert cell.raster != raster or not overlap(window, cell.window)
    for cell in split.validation:
        assert cell.window.height >= min(size, shapes[cell.raster][0])
        assert cell.window.width >= min(size, shapes[cell.raster][1])
    assert area(split.validation) <= sum(r * c for r, c in shapes) / 2 or len(shapes) < 4


def in_both(split):
    return {cell.raster for cell in split.training} & {cell.raster for cell in split.validation}


def test_four_rasters_are_split_whole_and_three_by_blocks():
    whole = split_rasters([(64, 64)] * 20, 16, rng(), lambda cell: True)
    assert not in_both(whole)
    assert len(whole.validation) == 2
    blocks = split_rasters([(128, 128)] * 3, 16, rng(), lambda cell: True)
    assert in_both(blocks)
    assert len(blocks.validation) == round(0.1 * 3 * 16)
    assert {cell.window.shape for cell in blocks.validation} == {(32, 32)}


def test_a_huge_raster_is_cut_into_few_cells():
    split = split_rasters([(1_000_000, 500_000)], 64, rng(), lambda cell: True)
    assert len(split.training + split.validation) == 32 * 16
    assert len(split.validation) == 51


def test_the_raster_that_holds_most_pixels_is_not_set_aside():
    shapes = [(400, 400), (20, 20), (20, 20), (20, 20)]
    for seed in range(20):
        split = split_rasters(shapes, 16, rng(seed), lambda cell: True)
        assert all(cell.raster != 0 for cell in split.validation)


def test_unusable_cells_do_not_validate_unless_there_is_nothing_else():
    for seed in range(20):
        split = split_rasters([(64, 64)] * 10, 16, rng(seed), lambda cell: cell.raster == 7)
        assert [cell.raster for cell in split.validation] == [7]
    assert len(split_rasters([(64, 64)] * 10, 16, rng(), lambda cell: False).validation) == 1


def test_a_thousand_rasters_keep_most_for_training():
    split = split_rasters([(32, 32)] * 5000, 32, rng(), lambda cell: True)
    assert len(split.validation) == 256
    assert len(split.training) == 5000 - 256


def test_one_raster_without_room_for_two_tiles_is_refused_with_the_size_that_fits():
    with pytest.raises(InputError, match=r"50 x 40 pixels.*at most 25"):
        split_rasters([(50, 40)], 32, rng(), lambda cell: True)
    assert split_rasters([(50, 40)], 25, rng(), lambda cell: True).training


def test_the_same_seed_splits_the_same_way():
    first, second, other = (split_rasters([(200, 200)], 16, rng(s), lambda cell: True) for s in (1, 1, 2))
    assert first == second
    assert first != other


def test_crops_stay_inside_and_reach_every_corner():
    window = Window(10, 20, 5, 9)
    generator = rng()
    found = {crop(window, 4, generator) for _ in range(500)}
    assert {(w.row, w.col) for w in found} == {(r, c) for r in (10, 11) for c in range(20, 26)}
    assert crop(window, 7, generator) in {Window(10, c, 5, 7) for c in (20, 21, 22)}
    assert centre(window, 3) == Window(11, 23, 3, 3)
    assert centre(window, 100) == window
