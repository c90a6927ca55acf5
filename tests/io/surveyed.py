"""Points, and a grid to put them on."""

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS

from geonp.io.grid import coordinates
from geonp.io.points import Points

UTM = "EPSG:32616"
BOX = GeoBox((4, 5), Affine(10, 0, 100, 0, -10, 240), UTM)


def blank(box):
    values = np.zeros((1, *box.shape), "f4")
    return xr.DataArray(values, dims=("band", "y", "x"), coords=coordinates(box))


def some(x, y, value, variance=None, crs=UTM):
    columns = (np.asarray(c, float) for c in (x, y, value))
    variance = None if variance is None else np.asarray(variance, float)
    return Points(*columns, variance, crs and CRS.from_user_input(crs), "z", "points.csv")
