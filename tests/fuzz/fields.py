"""Fields as nobody would draw them by hand, completed in several ways, and what must hold of the answers."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from hypothesis import strategies as st
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords

from geonp.evaluation import evaluate
from geonp.field import as_field, geobox
from geonp.io import open_field
from geonp.methods.base import Method, Status
from geonp.methods.choose import choose
from geonp.predict import complete

from .tally import Wrong

OFTEN = ("nearest", "linear", "cubic", "idw", "rbf", "bicubic", "fillnodata")
SELDOM = ("kriging", "pykrige", "kriging", "bundled")
EQUIVARIANT = ("nearest", "linear", "cubic", "idw", "rbf")
CRS = (None, "EPSG:32616", "EPSG:4326", "EPSG:3857", "EPSG:2263", "EPSG:3413", "EPSG:4979", "EPSG:27572")
DTYPES = ("f4", "f8", "u1", "i2", "u2", "i4", "u4")
SURFACES = ("smooth", "rough", "flat", "step", "huge", "tiny", "offset", "wild", "integers", "zeros")
MASKS = ("random", "rows", "block", "hole", "one", "two", "line", "none", "all", "edge", "lattice", "band")
GRIDS = ("north", "south", "west", "rotated", "skewed", "bare")
DIMS = (
    ("band", "y", "x"),
    ("time", "lat", "lon"),
    ("band", "latitude", "longitude"),
    ("level", "row", "col"),
)


@dataclass(frozen=True)
class Case:
    """One field and what is done with it; everything follows from these values."""

    seed: int
    bands: int
    rows: int
    cols: int
    dtype: str
    surface: str
    mask: str
    density: float
    grid: str
    pixel: tuple[float, float]
    corner: tuple[float, float]
    crs: str | None
    nodata: float | None
    infinite: int
    dims: int
    via: str
    method: str
    tile: int
    smooth: bool
    check: str

    @classmethod
    def loads(cls, text: str) -> Case:
        """Return the case of a JSON text."""
        values = json.loads(text)
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})

    def dumps(self) -> str:
        """Return the case as JSON text."""
        return json.dumps(asdict(self))


def cases() -> st.SearchStrategy[Case]:
    """Return a strategy for cases, of sizes from 1 x 1 to 80 x 80."""
    side = st.one_of(st.integers(1, 4), st.integers(5, 40), st.integers(41, 80))
    magnitude = st.sampled_from((1e-9, 1e-3, 0.1, 1.0, 30.0, 1e3, 1e7, 1e12, 1 / 120))
    place = st.sampled_from((0.0, 10.0, -179.9, 500_000.0, 5e6, -1e9, 1e15))
    return st.builds(
        Case,
        seed=st.integers(0, 2**32 - 1),
        bands=st.sampled_from((1, 1, 1, 2, 3)),
        rows=side,
        cols=side,
        dtype=st.sampled_from(DTYPES),
        surface=st.sampled_from(SURFACES),
        mask=st.sampled_from(MASKS),
        density=st.sampled_from((0.01, 0.05, 0.2, 0.5, 0.9, 0.99)),
        grid=st.sampled_from(GRIDS),
        pixel=st.one_of(magnitude.map(lambda s: (s, s)), st.tuples(magnitude, magnitude)),
        corner=st.tuples(place, place),
        crs=st.sampled_from(CRS),
        nodata=st.sampled_from((None, 0.0, -9999.0, 255.0, -3.4028234663852886e38, float("nan"), 1e20)),
        infinite=st.sampled_from((0, 0, 0, 1, 7)),
        dims=st.integers(0, len(DIMS) - 1),
        via=st.sampled_from(("memory", "memory", "tif", "nc")),
        method=st.sampled_from((*OFTEN, *SELDOM)),
        tile=st.sampled_from((1, 7, 16, 64, 1024)),
        smooth=st.sampled_from((False, False, False, True)),
        check=st.sampled_from(("answer", "answer", "equivariant", "evaluate")),
    )


def method_of(case: Case) -> Method:
    """Return the method of a case; the bundled one looks from one side only, to be quick."""
    chosen = choose(case.method)
    return replace(chosen, orientations=1) if case.method == "bundled" else chosen  # type: ignore[call-arg]


def surface_of(case: Case, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return values everywhere, (band, y, x)."""
    shape = (case.bands, case.rows, case.cols)
    y, x = np.mgrid[: case.rows, : case.cols]
    smooth = np.sin(y / 7) * 40 + x * 0.3 + rng.normal(size=(case.bands, 1, 1)) + 60
    smooth = np.broadcast_to(smooth, shape)
    noise = rng.normal(size=shape)
    match case.surface:
        case "rough":
            return 20 * noise + 100
        case "flat":
            return np.full(shape, 7.25)
        case "step":
            return np.where(x > case.cols // 2, 200.0, 3.0) + np.zeros(shape)
        case "huge":
            return smooth * 1e36
        case "tiny":
            return smooth * 1e-36
        case "offset":
            return smooth * 1e-3 + 1e6
        case "wild":
            return noise * 10.0 ** rng.integers(-30, 30, shape)
        case "integers":
            return rng.integers(0, 4, shape).astype(float)
        case "zeros":
            return np.where(rng.random(shape) < 0.1, 5.0, 0.0)
        case _:
            return smooth + 0.1 * noise


def seen_of(case: Case, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return which pixels are observed, (band, y, x)."""
    shape = (case.bands, case.rows, case.cols)
    seen = rng.random(shape) < case.density
    y, x = np.mgrid[: case.rows, : case.cols]
    match case.mask:
        case "rows":
            seen = (y % 5 == 0) & (rng.random(shape) < 0.9)
        case "block":
            seen = seen & (y < case.rows // 3 + 1) & (x < case.cols // 3 + 1)
        case "hole":
            seen = np.broadcast_to(
                np.hypot(y - case.rows / 2, x - case.cols / 2) > case.rows / 4, shape
            ).copy()
        case "one" | "two":
            seen[:] = False
            for _ in range(1 if case.mask == "one" else 2):
                seen[:, rng.integers(case.rows), rng.integers(case.cols)] = True
        case "line":
            seen = np.broadcast_to(y == x, shape).copy()
        case "none":
            seen[:] = False
        case "all":
            seen[:] = True
        case "edge":
            seen = np.broadcast_to((y == 0) | (x == 0), shape).copy()
        case "lattice":
            seen = np.broadcast_to((y % 4 == 1) & (x % 4 == 1), shape).copy()
        case "band":
            seen[0] = False
    return seen


def affine_of(case: Case) -> Affine:
    """Return the transform of a case."""
    dy, dx = case.pixel
    place = Affine.translation(*case.corner)
    match case.grid:
        case "south":
            return place * Affine.scale(dx, dy)
        case "west":
            return place * Affine.scale(-dx, -dy)
        case "rotated":
            return place * Affine.rotation(30) * Affine.scale(dx, -dy)
        case "skewed":
            return place * Affine.shear(20, 5) * Affine.scale(dx, -dy)
        case _:
            return place * Affine.scale(dx, -dy)


def stored(case: Case) -> tuple[NDArray[np.generic], NDArray[np.float32]]:
    """Return the numbers of a case as they are stored, and what is observed of them, NaN elsewhere.

    Integers cannot say that they are missing: where a file has no nodata value to say it with, and in memory,
    they are stored as float32.
    """
    rng = np.random.default_rng(case.seed)
    values, seen = surface_of(case, rng), seen_of(case, rng)
    dtype = np.dtype(case.dtype)
    nodata = case.nodata
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        holds = nodata is not None and not np.isnan(nodata) and info.min <= nodata <= info.max
        if case.via != "tif" or not holds:
            dtype = np.dtype("f4")
        else:
            values = np.clip(np.rint(values), info.min, info.max)
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = values.astype(dtype)
        at = rng.integers(values.size, size=case.infinite)
        values.flat[at] = np.inf
    missing = nodata if dtype.kind in "iu" or (case.via == "tif" and nodata is not None) else np.nan
    with np.errstate(over="ignore"):
        out = np.where(seen, values, missing).astype(dtype)
        known = out.astype(np.float32)
        same = np.zeros(out.shape, bool)
        if case.via == "tif" and nodata is not None:
            same = np.isnan(known) if np.isnan(nodata) else out == dtype.type(nodata)
    known[same | ~seen | ~np.isfinite(known)] = np.nan
    return out, known


def build(case: Case, folder: Path) -> tuple[xr.DataArray, NDArray[np.float32]]:
    """Return the field of a case, read from a file where it says so, and what is observed of it."""
    out, known = stored(case)
    names = DIMS[case.dims]
    transform, bare = affine_of(case), case.grid == "bare"
    if case.via == "tif":
        path = folder / "field.tif"
        path.unlink(missing_ok=True)
        profile = {} if bare else {"transform": transform, "crs": case.crs}
        with rasterio.open(
            path, "w", driver="GTiff", height=case.rows, width=case.cols, count=case.bands, dtype=out.dtype,
            nodata=_fitting(case.nodata, out.dtype), **profile,
        ) as file:  # fmt: skip
            file.write(out)
        return open_field(path), known
    if bare:
        array = xr.DataArray(out, dims=names)
    else:
        box = GeoBox(out.shape[1:], transform, case.crs)
        array = xr.DataArray(out, coords=xr_coords(box), dims=("band", *box.dims))
        straight = transform.b == 0 and transform.d == 0
        if straight and names[1] not in ("row", *box.dims) and min(out.shape[1:]) > 1:
            array = array.rename(dict(zip(array.dims, names, strict=True)))
    if case.via == "nc":
        path = folder / "field.nc"
        path.unlink(missing_ok=True)
        array.rename("v").to_netcdf(path)
        return open_field(path, variable="v"), known
    return array, known


def _fitting(nodata: float | None, dtype: np.dtype[np.generic]) -> float | None:
    """Return a nodata value where rasterio lets a file of this type have it."""
    if nodata is None or (dtype.kind == "f" and (np.isnan(nodata) or abs(nodata) < np.finfo(dtype).max)):
        return nodata
    if dtype.kind == "f":
        return float(np.finfo(dtype).min) if nodata < 0 else None
    info = np.iinfo(dtype)
    return nodata if not np.isnan(nodata) and info.min <= nodata <= info.max else None


def examine(case: Case, folder: Path) -> None:
    """Try a case; raise Wrong where an answer breaks a promise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        field, known = build(case, folder)
        method = method_of(case)
        if case.check == "evaluate":
            _evaluated(case, field, method)
            return
        done = complete(
            field,
            method,
            variance=method.has_variance,
            status=True,
            tile=case.tile,
            keep_observed=not case.smooth,
        )
        _in_place(field, done)
        _right(case, known, done)
        if case.check == "equivariant" and case.method in EQUIVARIANT:
            _moves_along(case, field, known, method, done)


def _in_place(field: xr.DataArray, done: xr.Dataset) -> None:
    """The answer lies where the question lay."""
    asked = as_field(field)
    for name in ("mean", "variance", "status"):
        if name not in done:
            continue
        layer = done[name]
        if layer.dims != asked.dims or layer.shape != asked.shape:
            raise Wrong(f"{name} is {layer.dims} {layer.shape}, the field {asked.dims} {asked.shape}")
        for coord in asked.coords:
            if not layer.coords[coord].identical(asked.coords[coord]):
                raise Wrong(f"coordinate {coord} of {name} has changed")
    was, now = geobox(asked), geobox(done["mean"])
    if was != now:
        raise Wrong(f"the grid was {was} and is {now}")


def _right(case: Case, known: NDArray[np.float32], done: xr.Dataset) -> None:
    mean, status = done["mean"].values, done["status"].values
    seen = np.isfinite(known)
    if mean.dtype != np.float32:
        raise Wrong(f"the mean is {mean.dtype}")
    if np.isinf(mean).any():
        raise Wrong(f"{np.isinf(mean).sum()} infinite values in the mean")
    some = seen.any((1, 2))
    if not np.isfinite(mean[some]).all():
        raise Wrong(f"{(~np.isfinite(mean[some])).sum()} pixels of bands with observations have no mean")
    if np.isfinite(mean[~some]).any():
        raise Wrong("a band without observations has a mean")
    if not case.smooth and (mean[seen] != known[seen]).any():
        raise Wrong("observed pixels were changed")
    expected = np.where(seen, Status.OBSERVED, status)
    expected[np.isnan(mean)] = Status.MASKED
    if (status != expected).any() or (status[~seen & np.isfinite(mean)] < Status.INTERPOLATED).any():
        raise Wrong(f"the status does not tell what is observed: {np.unique(status)}")
    if "variance" in done:
        variance = done["variance"].values
        if (np.isfinite(mean) != np.isfinite(variance)).any() or (variance < 0).any():
            raise Wrong(
                f"variance: {(np.isfinite(mean) & ~np.isfinite(variance)).sum()} not finite, "
                f"{(variance < 0).sum()} negative"
            )
        if not case.smooth and (variance[seen] != 0).any():
            raise Wrong("an observed pixel has a variance")
    for band in np.flatnonzero(some):
        low, high = float(known[band][seen[band]].min()), float(known[band][seen[band]].max())
        room = {"nearest": 0.0, "linear": 1e-5, "idw": 1e-5, "fillnodata": 1e-5}.get(case.method, 20.0)
        spare = room * (high - low) + 4e-7 * max(abs(low), abs(high))
        if mean[band].min() < low - spare or mean[band].max() > high + spare:
            raise Wrong(
                f"band {band}: observed {low:g} to {high:g}, completed {mean[band].min():g} to "
                f"{mean[band].max():g}"
            )


def _moves_along(
    case: Case, field: xr.DataArray, known: NDArray[np.float32], method: Method, done: xr.Dataset
) -> None:
    """Scaled and shifted values give a scaled and shifted answer."""
    seen = np.isfinite(known)
    if not seen.any() or np.abs(known[seen]).max() > 1e30:
        return
    low, high = known[seen].min(), known[seen].max()
    width = float(high - low)
    shift = width if np.abs(known[seen]).max() < 100 * width else 0.0
    moved = xr.DataArray(np.where(seen, known * np.float32(4) + np.float32(shift), np.nan).astype("f4"),
                         dims=field.dims if field.ndim == 3 else None, coords=field.coords)  # fmt: skip
    again = complete(moved, method, variance=False, tile=case.tile, keep_observed=not case.smooth)[
        "mean"
    ].values
    mean = done["mean"].values.astype(float)
    some = seen.any((1, 2))
    off = np.abs(again[some] - (4 * mean[some] + shift)).max()
    allowed = 1e-3 * width + 1e-5 * float(np.abs(known[seen]).max())
    if off > allowed:
        raise Wrong(
            f"scaled by 4 and shifted by {shift:g}, the answer is off by {off:g}, allowed {allowed:g}"
        )


def _evaluated(case: Case, field: xr.DataArray, method: Method) -> None:
    found = evaluate(field, ["nearest", method], context=0.5, seed=case.seed % 1000)
    for row in found.rows:
        if row.scores is None:
            if not row.failure:
                raise Wrong(f"{row.method} has neither a score nor a reason")
        elif not np.isfinite(row.scores.rmse) or row.scores.rmse < 0:
            raise Wrong(f"{row.method} has the RMSE {row.scores.rmse}")
