"""What a notebook shows of a prediction or a survey: small pictures and the numbers that matter, as HTML."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.field import as_field, geobox, grid_shape, spacing
from geonp.io import cf
from geonp.report.colour import Scale, scale_of_deviations, scale_of_values
from geonp.report.images import data_uri, dots

Values = NDArray[np.float64]

_SAMPLE, _PICTURE = 512, 128
_MOST = 4
_STYLE = "display:inline-block;margin:0 1em .5em 0;font-size:.85em;vertical-align:top"


@dataclass(frozen=True, slots=True)
class _Sample:
    """The first band of a variable, every `step`th pixel of it, north up."""

    values: Values
    step: int
    bands: int

    @classmethod
    def of(cls, array: xr.DataArray) -> _Sample:
        field = as_field(array)
        step = math.ceil(max(grid_shape(field)) / _SAMPLE)
        part = field.isel(band=0, y=slice(None, None, step), x=slice(None, None, step))
        values = np.asarray(part.to_numpy(), np.float64)
        box = geobox(field)
        if box is not None and box.affine.e > 0:
            values = values[::-1]
        return cls(np.where(np.isfinite(values), values, np.nan), step, field.sizes["band"])

    @property
    def share(self) -> float:
        """Share of the pixels with a value."""
        return float(np.isfinite(self.values).mean())


def of_dataset(dataset: xr.Dataset) -> str:
    """Return HTML of the predictions in a data set: `mean` with `variance`, or `NAME` with `NAME_variance`.

    Of a data set without any, its gridded variables are shown. The page fragment needs nothing from elsewhere;
    names and units are escaped. Of several bands the first is shown, and of a raster with a side of more than
    512 pixels every second, third, ... pixel.
    """
    pairs = list(_predictions(dataset))
    if pairs:
        parts = [_prediction(name, dataset[name], dataset[variance]) for name, variance in pairs[:_MOST]]
        return _card("prediction", parts, len(pairs), str(dataset.attrs.get("method", "")))
    names = [str(n) for n, a in dataset.data_vars.items() if a.ndim >= 2 and a.dtype.kind in "fiu" and a.size]
    parts = [_survey(name, dataset[name]) for name in names[:_MOST]]
    return _card("data set", parts, len(names), "")


def of_array(array: xr.DataArray) -> str:
    """Return HTML of a gridded variable: a picture, and how much of it is observed."""
    gridded = array.ndim >= 2 and array.dtype.kind in "fiu" and array.size
    parts = [_survey(str(array.name or "array"), array)] if gridded else []
    return _card("survey", parts, len(parts), "")


def _predictions(dataset: xr.Dataset) -> Iterable[tuple[str, str]]:
    for name, array in dataset.data_vars.items():
        variance = cf.VARIANCE if name == cf.MEAN else f"{name}_{cf.VARIANCE}"
        if variance in dataset and dataset[variance].dims == array.dims and array.ndim >= 2 and array.size:
            yield str(name), variance


def _prediction(name: str, mean: xr.DataArray, variance: xr.DataArray) -> str:
    values, spread = _Sample.of(mean), _Sample.of(variance)
    std = np.sqrt(np.maximum(spread.values, 0))
    filled = std[std > 0]
    unit = str(mean.attrs.get("units", "") or "")
    # CF has the root of K2 in kelvin, which a difference in degrees Celsius is too: the mean's unit stands.
    rows = [
        ("grid", _grid(mean)),
        ("mean", _span(values.values, unit)),
        ("deviation where filled", _typical(filled, unit)),
        ("observed", f"{float((std == 0).mean()):.1%}"),
        *_caveats(values),
    ]
    of = "" if name == cf.MEAN else f" of {name}"
    pictures = [
        _picture(values.values, scale_of_values(values.values), f"mean{of}", unit),
        _picture(std, scale_of_deviations(std), f"standard deviation{of}", unit),
    ]
    return _section(name, pictures, rows)


def _survey(name: str, array: xr.DataArray) -> str:
    sample = _Sample.of(array)
    unit = str(array.attrs.get("units", "") or "")
    rows = [
        ("grid", _grid(array)),
        ("values", _span(sample.values, unit)),
        ("observed", f"{sample.share:.1%}"),
        *_caveats(sample),
    ]
    picture = _picture(dots(sample.values), scale_of_values(sample.values), name, unit)
    return _section(name, [picture], rows)


def _grid(array: xr.DataArray) -> str:
    field = as_field(array)
    rows, cols = grid_shape(field)
    box = geobox(field)
    if box is None:
        return f"{rows} × {cols} pixels"
    dy, dx = spacing(field)
    unit = "" if box.crs is None else " m"
    size = f"{dy:.4g}{unit}" if math.isclose(dy, dx, rel_tol=1e-3) else f"{dy:.4g} × {dx:.4g}{unit}"
    code = None if box.crs is None else box.crs.to_epsg()
    crs = "no CRS" if box.crs is None else f"EPSG:{code}" if code else str(box.crs.proj.name)
    return f"{rows} × {cols} pixels of {size}, {crs}"


def _span(values: Values, unit: str) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "nothing known"
    return f"{known.min():.4g} to {known.max():.4g}{_unit(unit)}, {known.mean():.4g} on average"


def _typical(filled: Values, unit: str) -> str:
    if not filled.size:
        return "nothing was filled"
    return f"median {np.median(filled):.3g}{_unit(unit)}, up to {filled.max():.3g}"


def _caveats(sample: _Sample) -> list[tuple[str, str]]:
    shown = [f"the first of {sample.bands} bands"] if sample.bands > 1 else []
    shown += [f"one row and column in {sample.step}"] if sample.step > 1 else []
    return [("shown", ", ".join(shown))] if shown else []


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def _picture(values: Values, scale: Scale, title: str, unit: str) -> str:
    step = math.ceil(max(values.shape) / _PICTURE)
    rgba = scale.paint(values[::step, ::step])
    low, high = f"{scale.low:.4g}", f"{scale.high:.4g}{_unit(unit)}"
    text = f"{title}, colours from {low} to {high}"
    return (
        f'<figure style="{_STYLE}"><img alt="{escape(text)}" src="{data_uri(rgba)}" '
        'style="width:12em;image-rendering:pixelated;display:block">'
        f'<div aria-hidden="true" style="height:.6em;background:linear-gradient(to right,{scale.css()})"></div>'
        f'<div style="display:flex;justify-content:space-between"><span>{escape(low)}</span>'
        f"<span>{escape(high)}</span></div><figcaption>{escape(title)}</figcaption></figure>"
    )


def _section(name: str, pictures: list[str], rows: list[tuple[str, str]]) -> str:
    cells = "".join(
        f'<tr><th scope="row" style="text-align:left;padding-right:1em">{escape(key)}</th>'
        f'<td style="text-align:left">{escape(value)}</td></tr>'
        for key, value in rows
    )
    return (
        f'<section aria-label="{escape(name)}">{"".join(pictures)}'
        f'<table style="{_STYLE}"><caption style="text-align:left"><b>{escape(name)}</b></caption>'
        f"{cells}</table></section>"
    )


def _card(kind: str, parts: list[str], count: int, method: str) -> str:
    head = f"geonp {kind}" + (f", {method}" if method else "")
    if not parts:
        parts = ["<p>Nothing on a grid: no numeric variable with two spatial dimensions.</p>"]
    more = f"<p>… and {count - len(parts)} more</p>" if count > len(parts) else ""
    return f'<div class="geonp"><div><b>{escape(head)}</b></div>{"".join(parts)}{more}</div>'
