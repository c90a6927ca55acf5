import threading
import tracemalloc
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.errors import InputError, MissingCRSWarning, UsageError
from geonp.field import as_field, spacing
from geonp.masks import MaskKind, Mixture, parse_context
from geonp.scaling import Fixed, Standardise
from geonp.tasks import Task
from geonp.tiles import TileSet

AS_IS = Fixed((0.0,), (1.0,))
TENTH = parse_context("0.1")


def field(
    values: np.ndarray, pixel: tuple[float, float] = (30.0, 30.0), crs: str = "EPSG:32632"
) -> xr.DataArray:
    """A georeferenced field of (y, x) or (band, y, x) values; `pixel` is (dy, dx)."""
    values = np.asarray(values, np.float32)
    box = GeoBox(values.shape[-2:], Affine(pixel[1], 0, 500_000, 0, -pixel[0], 5_000_000), crs)
    return as_field(wrap_xr(values, box, axis=values.ndim - 2))


def coded(raster: int, shape: tuple[int, int]) -> xr.DataArray:
    """A field whose every value says which pixel of which raster it is."""
    row, col = np.indices(shape)
    return field(raster * 1_000_000 + row * 1000 + col)


def decode(task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    code = task.values[task.everything_seen().context > 0].numpy().astype(int)
    return code // 1_000_000, code // 1000 % 1000, code % 1000


def relief(seed: int, shape: tuple[int, ...] = (80, 90)) -> np.ndarray:
    return 500 + np.random.default_rng(seed).normal(size=shape).cumsum(-1).cumsum(-2)


def tiles(fields: list[xr.DataArray], **options: object) -> TileSet:
    given = {"size": 16, "batch": 8, "context": TENTH, "scaling": AS_IS, "validation_tiles": 12, **options}
    return TileSet(fields, **given)


def equal(a: Task, b: Task) -> bool:
    names = ("values", "context", "target", "spacing")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


def test_a_batch_is_a_whole_task():
    task = tiles([field(relief(i, (3, 80, 90))) for i in range(5)], scaling=None).batch(0)
    assert task.values.shape == (8, 3, 16, 16)
    assert task.values.dtype == torch.float32
    assert task.context.sum((1, 2, 3)).tolist() == [26] * 8
    assert torch.equal(task.target, 1 - task.context)
    assert torch.equal(task.spacing, torch.full((8, 2), 30.0))
    for values, context in zip(task.values.double(), task.context[:, 0], strict=True):
        seen = values[:, context > 0]
        torch.testing.assert_close(seen.mean(1), torch.zeros(3).double(), atol=1e-4, rtol=0)
        torch.testing.assert_close(seen.std(1, correction=0), torch.ones(3).double(), atol=1e-4, rtol=0)


def test_the_context_can_be_scored_too():
    task = tiles([field(relief(0))], score_context=True).batch(0)
    assert torch.equal(task.target, torch.ones_like(task.target))


@pytest.mark.parametrize("count", [1, 3, 6])
def test_validation_pixels_are_never_trained_on(count):
    set_ = tiles([coded(i, (70, 85)) for i in range(count)])
    trained, validated = set(), set()
    for step in range(40):
        trained |= set(zip(*decode(set_.batch(step)), strict=True))
    for task in set_.validation():
        validated |= set(zip(*decode(task), strict=True))
    assert not trained & validated
    trains, validates = (
        {cell.raster for cell in cells} for cells in (set_.split.training, set_.split.validation)
    )
    assert trains.isdisjoint(validates) == (count >= 4)
    # Nearly everything else is trained on.
    held = sum(cell.window.height * cell.window.width for cell in set_.split.validation)
    assert len(trained) > 0.8 * (count * 70 * 85 - held) * min(1, 40 * 8 * 256 / (count * 70 * 85) / 4)


def test_a_batch_is_a_pure_function_of_seed_and_step():
    fields = [field(relief(i)) for i in range(4)]
    options = {
        "masks": Mixture(tuple(k for k in MaskKind if k is not MaskKind.GAPS)),
        "scaling": Standardise(),
    }
    one, other = tiles(fields, **options), tiles(fields, **options)
    forth = [one.batch(step) for step in range(6)]
    one.validation()
    back = [other.batch(step) for step in reversed(range(6))][::-1]
    assert all(equal(a, b) for a, b in zip(forth, back, strict=True))
    assert not any(equal(forth[0], b) for b in forth[1:])
    assert not equal(tiles(fields, seed=1, **options).batch(0), forth[0])
    assert all(equal(a, b) for a, b in zip(one.validation(), other.validation(), strict=True))
    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(one.batch, range(6)))
    assert all(equal(a, b) for a, b in zip(forth, threaded, strict=True))


def test_validation_is_fixed_and_as_large_as_asked():
    set_ = tiles([field(relief(i)) for i in range(4)], validation_tiles=12)
    tasks = set_.validation()
    assert [len(task.values) for task in tasks] == [8, 4]
    assert all(equal(a, b) for a, b in zip(tasks, set_.validation(), strict=True))


def test_moving_the_rasters_on_the_map_changes_nothing():
    fields = [field(relief(i)) for i in range(4)]
    moved = [f.assign_coords(x=f.x + 12_000, y=f.y - 90_000) for f in fields]
    assert equal(tiles(fields).batch(3), tiles(moved).batch(3))


def test_level_and_units_leave_no_trace_once_standardised():
    fields = [field(relief(i)) for i in range(4)]
    other = [field(relief(i) * 0.3048 + 70) for i in range(4)]
    plain, changed = (tiles(f, scaling=Standardise()).batch(1) for f in (fields, other))
    assert torch.equal(plain.context, changed.context)
    torch.testing.assert_close(plain.values, changed.values, atol=2e-3, rtol=1e-3)


def test_turned_tiles_take_their_pixel_size_along():
    # Values rise by 2 m for each pixel of 2 m to the east, by 7 m for each of 7 m to the north.
    row, col = np.indices((80, 80))
    set_ = tiles([field(col * 2 - row * 7, pixel=(7.0, 2.0))] * 4)
    orientations = set()
    for step in range(10):
        task = set_.batch(step)
        v = task.values[:, 0]
        down, right = v[:, 1, 0] - v[:, 0, 0], v[:, 0, 1] - v[:, 0, 0]
        assert torch.equal(torch.stack([down.abs(), right.abs()], 1), task.spacing)
        orientations |= set(zip(down.tolist(), right.tolist(), strict=True))
    assert len(orientations) == 8
    for task in [
        tiles([field(col * 2 - row * 7, pixel=(7.0, 2.0))] * 4, augment=False).batch(0),
        *set_.validation(),
    ]:
        v = task.values[:, 0]
        assert (v[:, 1, 0] - v[:, 0, 0] == -7).all()
        assert (v[:, 0, 1] - v[:, 0, 0] == 2).all()


def test_geographic_rasters_are_measured_where_the_tile_lies():
    box = GeoBox((600, 60), Affine(0.1, 0, 5, 0, -0.1, 70), "EPSG:4326")
    set_ = tiles([as_field(wrap_xr(relief(0, (600, 60)).astype("f4"), box))] * 4, augment=False)
    task = set_.batch(0)
    # A degree of longitude spans cos(latitude) of what it does at the equator; here from 10 to 70 degrees.
    widths = task.spacing[:, 1]
    assert widths.max() / widths.min() > 1.2
    assert (task.spacing[:, 0] - 11_114).abs().max() < 54  # 11,061 m at 10 degrees, 11,168 m at 70
    whole = spacing(set_.fields[0])
    assert set_.spacing == pytest.approx(whole)


def test_unknown_pixels_are_neither_seen_nor_scored():
    rng = np.random.default_rng(0)
    fields = []
    for i in range(4):
        values = relief(i, (2, 60, 60))
        values[0][rng.random((60, 60)) < 0.2] = np.nan
        values[1][rng.random((60, 60)) < 0.1] = np.inf
        fields.append(field(values + 10_000))
    for step in range(4):
        task = tiles(fields).batch(step)
        known = (task.values != 0).all(1, keepdim=True).float()
        assert torch.equal((task.values != 0).any(1, keepdim=True).float(), known)
        assert torch.equal(task.context + task.target, known)
        assert 0.6 < known.mean() < 0.84
        share = task.context.sum((1, 2, 3)) / known.sum((1, 2, 3))
        assert (share - 0.1).abs().max() < 0.01


def test_rasters_smaller_than_a_tile_stand_in_its_middle():
    fields = [coded(i + 1, (10, 13)) for i in range(4)] + [coded(5, (40, 7))]
    set_ = tiles(fields, augment=False)
    for step in range(5):
        task = set_.batch(step)
        for values in task.values[:, 0]:
            raster = int(values.max()) // 1_000_000
            shape = (16, 7) if raster == 5 else (10, 13)
            known = torch.zeros(16, 16, dtype=torch.bool)
            top, left = (16 - shape[0]) // 2, (16 - shape[1]) // 2
            known[top : top + shape[0], left : left + shape[1]] = True
            assert torch.equal(values != 0, known)


def test_empty_and_flat_tiles_are_rejected():
    values = np.zeros((200, 200))
    values[:, :60] = np.nan
    values[100:, 150:] = relief(0, (100, 50))
    values[50, 70] = 1
    set_ = tiles([field(values)] * 4)
    flat = 0
    for step in range(8):
        for tile in set_.batch(step).values:
            flat += int((tile == 0).float().mean() > 0.98)
    # A sixteenth of the raster is relief; what 32 draws do not find is a chance of 0.2 %.
    assert flat == 0


def test_rasters_of_nothing_but_sea_are_still_answered():
    task = tiles([field(np.zeros((40, 40)))] * 4, scaling=Standardise()).batch(0)
    assert task.values.isfinite().all()
    assert (task.values == 0).all()
    assert task.context.sum() > 0
    nothing = tiles([field(np.full((40, 40), np.nan))] * 4)
    with pytest.raises(InputError, match="not one known pixel"):
        nothing.batch(0)


def test_a_cliff_that_the_context_does_not_see_is_not_a_target():
    values = np.random.default_rng(0).normal(0, 1e-3, (64, 64))
    values[::16, ::16] = 1e6
    task = tiles([field(values)] * 4, scaling=Standardise(), context=parse_context("20")).batch(0)
    assert task.values.abs().max() < 26
    assert (task.values[(task.context + task.target) == 0] == 0).all()


def test_an_absurd_pixel_that_is_in_every_tile_is_unknown_even_to_the_context():
    values = np.random.default_rng(0).normal(5, 1, (40, 40))
    values[20, 20] = 1e6
    set_ = tiles([field(values)] * 4, size=40, scaling=Standardise(), context=parse_context("0.9"))
    for task in (set_.batch(0), set_.batch(1)):
        known = task.everything_seen().context
        assert known.sum((1, 2, 3)).tolist() == [1599] * 8
        assert (task.values[known == 0] == 0).all()
        assert (task.values[known > 0] != 0).all()


def test_large_rasters_are_drawn_more_often_but_do_not_drown_the_rest():
    fields = [coded(0, (320, 320)), *(coded(i, (40, 40)) for i in range(1, 9))]
    set_ = tiles(fields)
    drawn = np.concatenate([set_.batch(step).values.amax((1, 2, 3)) for step in range(100)]) // 1_000_000
    small = [i for i in range(1, 9) if i not in {cell.raster for cell in set_.split.validation}]
    # sqrt(320 x 320) : sqrt(40 x 40) = 8 : 1
    assert np.mean(drawn == 0) == pytest.approx(8 / (8 + len(small)), abs=0.06)


def test_every_kind_of_mask_is_drawn_and_gaps_come_from_the_rasters():
    fields = [field(relief(i)) for i in range(4)]
    holey = relief(9)
    holey[20:60, 20:50] = np.nan
    set_ = tiles([*fields, field(holey)], masks=Mixture((MaskKind.GAPS,)), context=parse_context("0.5"))
    assert set_.batch(0).context.sum() > 0
    with pytest.raises(UsageError, match="no raster has gaps"):
        tiles(fields, masks=Mixture((MaskKind.RANDOM, MaskKind.GAPS)))
    lent = tiles(fields, masks=Mixture((MaskKind.GAPS,)), donors=[field(holey)], context=parse_context("0.9"))
    masks = torch.cat([lent.batch(step).context[:, 0] for step in range(5)]).numpy()
    runs = np.abs(np.diff(masks)).mean((1, 2))
    plain = tiles(fields, context=parse_context("0.5")).batch(0).context[:, 0].numpy()
    assert np.median(runs) < 0.6 * np.abs(np.diff(plain)).mean()


def test_held_out_fields_are_validation_windows_as_they_are():
    set_ = tiles([coded(i, (70, 85)) for i in range(6)])
    held = set_.held_out(5)
    again = set_.held_out(5)
    rasters = {cell.raster for cell in set_.split.validation}
    assert len(held) == 5
    for one, other in zip(held, again, strict=True):
        assert one.identical(other)
        assert one.shape == (1, 16, 16)
        code = one.values.astype(int)[0]
        assert set(np.unique(code // 1_000_000)) <= rasters
        row, col = code[0, 0] // 1000 % 1000, code[0, 0] % 1000
        assert one.odc.geobox == set_.fields[0].odc.geobox[row : row + 16, col : col + 16]


def test_the_callers_arrays_are_left_alone():
    values = np.random.default_rng(0).normal(0, 1e-3, (1, 64, 64)).astype("f4")
    values[:, ::16, ::16] = 1e6
    before = values.copy()
    set_ = tiles([field(values[0])] * 4, scaling=Standardise(), context=parse_context("20"))
    set_.fields[0].values[...] = values
    for step in range(3):
        set_.batch(step)
    assert np.array_equal(set_.fields[0].values, before)


# --- larger than memory ---


def test_nothing_but_windows_is_read():
    dask = pytest.importorskip("dask.array")
    side, seen, lock = 100_000, [], threading.Lock()

    def chunk(block_info: dict) -> np.ndarray:
        (_, _), (r0, r1), (c0, c1) = block_info[None]["array-location"]
        with lock:
            seen.append((r0, c0))
        return (np.arange(r0, r1)[:, None] % 997 + np.arange(c0, c1) % 991)[None].astype("f4")

    lazy = dask.map_blocks(
        chunk, chunks=((1,), (2000,) * 50, (2000,) * 50), dtype="f4", meta=np.empty((0, 0, 0), "f4")
    )
    big = xr.DataArray(lazy, dims=("band", "y", "x"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MissingCRSWarning)
        tracemalloc.start()
        set_ = tiles([big], size=64, batch=4)
        task = set_.batch(0)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert task.values.shape == (4, 1, 64, 64)
    assert side**2 * 4 == 40e9
    assert peak < 200e6
    assert len(seen) < 300


# --- what is refused ---


def test_rasters_must_have_the_same_bands():
    three = field(relief(0, (3, 40, 40))).rename("red_green_blue.tif")
    one = field(relief(0))
    one.attrs["source"] = "dem.tif"
    with pytest.raises(InputError, match=r"dem.tif has 1, red_green_blue.tif has 3"):
        tiles([one, one, three])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"validation_tiles": 0}, "validation_tiles is 0"),
        ({"fewest_known": 0.0}, "fewest_known is 0"),
        ({"context": parse_context("2"), "scaling": Standardise()}, "2 pixels of a tile of 16"),
        ({"context": parse_context("0.005:0.3"), "scaling": Standardise()}, "0.005:0.3 shows as few as 1"),
    ],
)
def test_parameters_out_of_range_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        tiles([field(relief(0))], **options)


def test_no_raster_or_too_small_a_one_is_refused():
    with pytest.raises(InputError, match="no raster"):
        tiles([])
    with pytest.raises(InputError, match="tiles of at most 10"):
        tiles([field(relief(0, (20, 18)))])


def test_a_missing_crs_is_told_once():
    bare = [
        xr.DataArray(relief(i)[None].astype("f4"), dims=("band", "y", "x"), name=f"tile{i}") for i in range(4)
    ]
    with pytest.warns(MissingCRSWarning, match=r"4 of 5 rasters.*tile0") as told:
        set_ = tiles([*bare, field(relief(9))])
    assert sum(warning.category is MissingCRSWarning for warning in told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", MissingCRSWarning)
        spacings = torch.cat([set_.batch(step).spacing for step in range(8)])
    assert set(map(tuple, spacings.tolist())) <= {(1.0, 1.0), (30.0, 30.0)}


@pytest.mark.data
def test_real_rasters_of_every_size_and_resolution_train(data: Path):
    from geonp.io.raster import open_raster

    fields = [open_raster(path) for path in sorted((data / "dem").glob("*.tif"))]
    set_ = TileSet(
        fields,
        64,
        16,
        parse_context("0.02:0.5"),
        Mixture(tuple(MaskKind)),
        scaling=Standardise(),
        validation_tiles=32,
    )
    for task in [*(set_.batch(step) for step in range(4)), *set_.validation()]:
        assert task.values.isfinite().all()
        assert task.values.abs().max() < 200
        assert task.context.sum((1, 2, 3)).min() >= 3
        assert (task.target * task.context).sum() == 0
        assert (task.spacing > 0.9).all()
        assert (task.spacing < 12_000).all()
