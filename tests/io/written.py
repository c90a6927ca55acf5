"""Fields to complete, and every way to write what came of them."""

import numpy as np
import xarray as xr

from geonp.field import windows
from geonp.io.container import ContainerWriter
from geonp.io.geotiff import RasterWriter
from geonp.io.grid import coordinates
from tests.io.grids import NAN


def field_on(box, bands=1, **attrs):
    """Return a field of NaN on a geobox."""
    coords = {"band": np.arange(1, bands + 1), **coordinates(box)}
    values = np.full((bands, *box.shape), NAN)
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coords, attrs=attrs)


def write_all(writer, layers, tile=32, seed=0):
    """Write windows in a random order and commit."""
    rows, cols = layers["mean"].shape[1:]
    order = windows((rows, cols), tile)
    np.random.default_rng(seed).shuffle(order)
    with writer:
        for w in order:
            at = (slice(None), slice(w.row, w.stop[0]), slice(w.col, w.stop[1]))
            writer.write(w, {name: values[at] for name, values in layers.items()})
        writer.commit()


WRITERS = {
    "tif": lambda folder, field, **k: RasterWriter(
        {"mean": folder / "m.tif", "variance": folder / "v.tif"}, field, **k
    ),
    "cog": lambda folder, field, **k: RasterWriter({"mean": folder / "m.tif"}, field, cog=True, **k),
    "nc": lambda folder, field, **k: ContainerWriter(folder / "a.nc", field, **k),
    "zarr": lambda folder, field, **k: ContainerWriter(folder / "a.zarr", field, **k),
}
