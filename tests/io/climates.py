"""Data sets on a grid of latitudes and longitudes."""

import numpy as np
import xarray as xr

LAT = np.linspace(60, 51, 10)
LON = np.linspace(5, 16, 12)
NORTH = {"units": "degrees_north"}
EAST = {"units": "degrees_east"}


def numbers(*shape):
    return np.arange(1, 1 + np.prod(shape), dtype="f4").reshape(shape)


def climate(**variables):
    """Return a data set on a latitude and longitude grid with four times."""
    coords = {"time": np.arange("2001-01", "2001-05", dtype="M8[M]").astype("M8[ns]")}
    coords |= {"lat": ("lat", LAT, NORTH), "lon": ("lon", LON, EAST)}
    return xr.Dataset(variables, coords=coords)
