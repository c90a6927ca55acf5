"""The attributes that the CF conventions give to grids and to the layers of a completed field.

Source: Climate and Forecast metadata conventions 1.10, sections 3.1 (units), 3.4 (ancillary data), 3.5
(flags), 4 (coordinate types), 5.6 (grid mappings) and appendix C (standard name modifiers).
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

if TYPE_CHECKING:
    from pyproj import CRS

CONVENTIONS = "CF-1.10"
GRID_MAPPING = "spatial_ref"
MEAN, VARIANCE, STD, STATUS = "mean", "variance", "std", "status"
LAYERS = (MEAN, VARIANCE, STD, STATUS)
STATUS_MEANINGS = ("masked", "observed", "interpolated", "extrapolated")
SOURCE_DTYPE, SOURCE_NODATA = "source_dtype", "source_nodata"

# Attributes that describe how a file stored its numbers, or that the completed values may contradict.
_OF_STORAGE = {
    "_FillValue", "missing_value", "scale_factor", "add_offset", "valid_min", "valid_max", "valid_range",
    "actual_range", "ancillary_variables", "grid_mapping", "coordinates", SOURCE_DTYPE, SOURCE_NODATA,
}  # fmt: skip
_LATITUDE_UNITS = {"degrees_north", "degree_north", "degree_n", "degrees_n", "degreen", "degreesn"}
_LONGITUDE_UNITS = {"degrees_east", "degree_east", "degree_e", "degrees_e", "degreee", "degreese"}
_Y_NAMES = {"latitude", "projection_y_coordinate", "grid_latitude"}
_X_NAMES = {"longitude", "projection_x_coordinate", "grid_longitude"}
_CELSIUS = {"c", "°c", "degc", "deg_c", "degreec", "degreesc", "celsius", "degreecelsius", "degreescelsius"}
_UNIT_FACTOR = re.compile(r"^([A-Za-zµ°_]+)(\^|\*\*)?(-?\d+)?$")


def squared(units: str) -> str:
    """Return the units of a variance, in a form that UDUNITS reads.

    Temperatures on the Celsius scale become K2: the square of a unit with an offset is not a unit.

    >>> squared("m"), squared("m s-1"), squared("degC"), squared("mm/m"), squared("1")
    ('m2', 'm2 s-2', 'K2', '(mm/m)2', '1')
    """
    bare = units.strip()
    if bare in ("", "1", "-"):
        return bare
    if bare.lower().replace(" ", "").replace("_", "") in _CELSIUS and bare != "c":
        return "K2"
    factors = [_UNIT_FACTOR.match(part) for part in re.split(r"[ .]+", bare)]
    if all(factors):
        parts = [
            f"{name}{power or ''}{2 * int(exponent or 1)}"
            for name, power, exponent in (f.groups() for f in factors if f)
        ]
        return " ".join(parts)
    return f"({bare})2"


def described(attrs: Mapping[str, Any], layer: str, name: str = "") -> dict[str, Any]:
    """Return the attributes of one layer of a completed variable.

    Parameters
    ----------
    attrs : of the variable that was completed.
    layer : `mean`, `variance`, `std` or `status`.
    name : what the variable is called where it has no `long_name`.
    """
    kept = {str(k): v for k, v in attrs.items() if k not in _OF_STORAGE}
    if layer == MEAN:
        return kept
    called = str(kept.get("long_name") or name or kept.get("standard_name") or "the field")
    standard = kept.get("standard_name")
    out: dict[str, Any] = {}
    if layer == VARIANCE:  # CF has no standard name modifier for a variance
        out["long_name"] = f"variance of {called}"
        if "units" in kept:
            out["units"] = squared(str(kept["units"]))
    elif layer == STD:
        out["long_name"] = f"standard deviation of {called}"
        if standard:
            out["standard_name"] = f"{standard} standard_error"
        if "units" in kept:
            out["units"] = kept["units"]
    else:
        out["long_name"] = f"how {called} was obtained"
        if standard:
            out["standard_name"] = f"{standard} status_flag"
        out["flag_values"] = np.arange(len(STATUS_MEANINGS), dtype=np.uint8)
        out["flag_meanings"] = " ".join(STATUS_MEANINGS)
    if "AREA_OR_POINT" in kept:
        out["AREA_OR_POINT"] = kept["AREA_OR_POINT"]
    return out


def describe(out: xr.Dataset, source: xr.DataArray) -> xr.Dataset:
    """Return `out`, with `mean` and perhaps `variance`, `std`, `status`, described by CF after `source`."""
    out = out.copy()
    present = [layer for layer in LAYERS if layer in out]
    for layer in present:
        out[layer].attrs = described(source.attrs, layer, str(source.name or ""))
        _keep_grid_mapping(out[layer], source)
    if MEAN in out and len(present) > 1:
        out[MEAN].attrs["ancillary_variables"] = " ".join(present[1:])
    return out


def link_variance(dataset: xr.Dataset, name: str) -> xr.Dataset:
    """Return `dataset` with `<name>_variance` described as the variance of `name` and linked from it.

    Ancillary variables that `name` had already are kept where they are there.
    """
    dataset = dataset.copy()
    variance = f"{name}_variance"
    array = dataset[name]
    others = [
        v for v in str(array.attrs.get("ancillary_variables", "")).split() if v in dataset and v != variance
    ]
    dataset[variance].attrs = described(array.attrs, VARIANCE, name)
    _keep_grid_mapping(dataset[variance], array)
    array.attrs["ancillary_variables"] = " ".join([*others, variance])
    return dataset


def _keep_grid_mapping(array: xr.DataArray, source: xr.DataArray) -> None:
    if "grid_mapping" in source.encoding:
        array.encoding["grid_mapping"] = source.encoding["grid_mapping"]
    elif "grid_mapping" in source.attrs:
        array.attrs["grid_mapping"] = source.attrs["grid_mapping"]


def axis_attributes(crs: CRS | None) -> tuple[dict[str, str], dict[str, str]]:
    """Return the attributes of the y and x coordinates of an unrotated grid."""
    y, x = {"axis": "Y"}, {"axis": "X"}
    if crs is None:
        return y, x
    if crs.is_geographic and crs.is_derived:
        y |= {"standard_name": "grid_latitude", "units": "degrees"}
        x |= {"standard_name": "grid_longitude", "units": "degrees"}
    elif crs.is_geographic:
        y |= {"standard_name": "latitude", "units": "degrees_north"}
        x |= {"standard_name": "longitude", "units": "degrees_east"}
    else:
        unit = crs.axis_info[0].unit_name if crs.axis_info else ""
        units = {"units": unit.replace(" ", "_")} if unit else {}
        y |= {"standard_name": "projection_y_coordinate", **units}
        x |= {"standard_name": "projection_x_coordinate", **units}
    return y, x


def grid_mapping(crs: CRS | None, transform: str | None) -> xr.DataArray:
    """Return the scalar grid mapping variable: the CRS by CF parameters and as WKT, GDAL's GeoTransform."""
    attrs: dict[str, Any] = {}
    if crs is not None:
        attrs = {**crs.to_cf(), "spatial_ref": crs.to_wkt()}
    else:
        # Without this, readers of the GDAL attributes do not take the variable for a grid mapping.
        attrs["spatial_ref"] = ""
    if transform is not None:
        attrs["GeoTransform"] = transform
    return xr.DataArray(np.int32(0), name=GRID_MAPPING, attrs=attrs)


def read_crs(dataset: xr.Dataset, variable: xr.Variable) -> tuple[CRS | None, str | None]:
    """Return the CRS and the GeoTransform that a variable's grid mapping states; None for what is missing.

    A grid mapping that no variable points to is used where it is the only one; see CF section 5.6.
    """
    pointed = str(variable.encoding.get("grid_mapping") or variable.attrs.get("grid_mapping") or "")
    name = re.split(r"[\s:]+", pointed)[0]
    if name not in dataset.variables:
        mappings = [n for n, v in dataset.variables.items() if v.ndim == 0 and _states_crs(v.attrs)]
        if len(mappings) != 1:
            return None, None
        name = str(mappings[0])
    attrs = dataset.variables[name].attrs
    transform = attrs.get("GeoTransform")
    return _crs(attrs), None if transform is None else str(transform)


def _states_crs(attrs: Mapping[Any, Any]) -> bool:
    return any(key in attrs for key in ("spatial_ref", "crs_wkt", "grid_mapping_name", "GeoTransform"))


def _crs(attrs: Mapping[Any, Any]) -> CRS | None:
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    for key in ("spatial_ref", "crs_wkt"):
        if attrs.get(key):
            try:
                return CRS.from_wkt(str(attrs[key]))
            except CRSError:
                continue
    if "grid_mapping_name" not in attrs:
        return None
    try:
        return CRS.from_cf(dict(attrs))
    except (CRSError, KeyError, ValueError):
        return None


def spatial_dimensions(variable: xr.Variable, dataset: xr.Dataset) -> tuple[Hashable, Hashable] | None:
    """Return the dimensions along y and x: by CF attributes, else by name, else None."""

    def find(test: Any) -> Hashable | None:
        found = [d for d in variable.dims if d in dataset.variables and test(dataset.variables[d].attrs)]
        return found[0] if len(found) == 1 else None

    y = find(lambda a: _is_latitude(a) or a.get("standard_name") in _Y_NAMES or a.get("axis") == "Y")
    x = find(lambda a: _is_longitude(a) or a.get("standard_name") in _X_NAMES or a.get("axis") == "X")
    if y is not None and x is not None and y != x:
        return y, x
    by_name = {str(d).lower(): d for d in variable.dims}
    for pair in (("y", "x"), ("lat", "lon"), ("latitude", "longitude"), ("yc", "xc"), ("rlat", "rlon")):
        if by_name.keys() >= set(pair):
            return by_name[pair[0]], by_name[pair[1]]
    return None


def is_geographic(y: xr.Variable, x: xr.Variable, names: Iterable[Hashable]) -> bool:
    """Return whether coordinates are latitudes and longitudes, by their units or, without units, names."""
    if _is_latitude(y.attrs) and _is_longitude(x.attrs):
        return True
    unstated = not y.attrs.get("units") and not x.attrs.get("units")
    return unstated and [str(n).lower()[:3] for n in names] == ["lat", "lon"]


def _is_latitude(attrs: Mapping[Any, Any]) -> bool:
    return str(attrs.get("units", "")).lower() in _LATITUDE_UNITS


def _is_longitude(attrs: Mapping[Any, Any]) -> bool:
    return str(attrs.get("units", "")).lower() in _LONGITUDE_UNITS


def valid_range(variable: xr.Variable) -> tuple[float, float]:
    """Return the least and greatest valid value in the units of the unpacked variable (CF section 2.5.1)."""
    attrs, packing = variable.attrs, variable.encoding
    low, high = attrs.get("valid_min"), attrs.get("valid_max")
    if "valid_range" in attrs and np.size(attrs["valid_range"]) == 2:
        low, high = attrs["valid_range"]
    scale, offset = float(packing.get("scale_factor", 1)), float(packing.get("add_offset", 0))
    try:
        least = -np.inf if low is None else float(low) * scale + offset
        most = np.inf if high is None else float(high) * scale + offset
    except (TypeError, ValueError):  # stated as something else than a number
        return -np.inf, np.inf
    return min(least, most), max(least, most)
