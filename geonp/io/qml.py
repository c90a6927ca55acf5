"""Styles for QGIS beside completed rasters: `mean.qml` is applied as soon as `mean.tif` is opened.

A layer of QGIS has one renderer, so that a coloured hillshade takes two layers. The mean therefore gets two
styles: its colours (`mean.qml`), and a hillshade that multiplies what lies below (`mean.hillshade.qml`). The
layer definition (`mean.qlr`) holds both, and the other rasters, in one group.

Source: the named styles and layer definitions that QGIS 3.22 writes, and the attributes that its renderers read
(`QgsSingleBandPseudoColorRenderer`, `QgsHillshadeRenderer`, `QgsPalettedRasterRenderer`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from xml.etree import ElementTree as ET

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from geonp.field import grid_spacing
from geonp.io import cf
from geonp.io.grid import exact_box
from geonp.io.outputs import LayerArrays

VIRIDIS = (
    "#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725",
)  # fmt: skip
MAGMA = (
    "#000004", "#1d1147", "#51127c", "#832681", "#b73779", "#e75263", "#fc8961", "#fec488", "#fcfdbf",
)  # fmt: skip
STATUS_COLOURS = ("#9a9a9a", "#f0e442", "#56b4e9", "#d55e00")
"""Masked (which is transparent), observed, interpolated, extrapolated."""

_NORMAL, _MULTIPLY = 0, 6
_BAND = "1"
_AZIMUTH, _ANGLE = 315, 45
_QML = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
_QLR = "<!DOCTYPE qgis-layer-definition>\n"
_KEPT = 1 << 19
_TITLES = {cf.MEAN: "mean", cf.VARIANCE: "variance", cf.STD: "standard deviation", cf.STATUS: "status"}


@dataclass
class Spread:
    """What the first band of each layer ranges over, from evenly spaced pixels of its windows.

    Parameters
    ----------
    pixels : of the raster; about half a million of them are kept.
    """

    pixels: int
    _kept: dict[str, list[NDArray[np.float32]]] = field(default_factory=dict)

    def add(self, layers: LayerArrays) -> None:
        """Look at one window of every layer, arrays (band, y, x)."""
        step = max(1, math.ceil(math.sqrt(self.pixels / _KEPT)))
        for name in (cf.MEAN, cf.VARIANCE, cf.STD):
            if name in layers:
                values = np.asarray(layers[name])[0, ::step, ::step]
                self._kept.setdefault(name, []).append(values[np.isfinite(values)].astype(np.float32))

    def limits(self, layer: str) -> tuple[float, float]:
        """Return where colours begin and end: the 1st and 99th percentile; for deviations 0 and the 99th.

        (0, 1) where nothing is known; equal values lie in the middle of their limits.
        """
        values = np.concatenate(self._kept.get(layer, [np.empty(0, np.float32)]))
        if not values.size:
            return 0.0, 1.0
        low, high = (float(v) for v in np.percentile(values, [1, 99]))
        if layer != cf.MEAN:
            low, high = 0.0, max(high, float(values.max()) if high == 0 else high)
        if high > low:
            return low, high
        half = abs(low) * 0.01 or 0.5
        return (low - half, high + half) if layer == cf.MEAN else (0.0, 1.0)


def style_files(rasters: Mapping[str, Path]) -> list[Path]:
    """Return the files that `styles` makes for the rasters of these layers."""
    files = [path.with_suffix(".qml") for path in rasters.values()]
    if cf.MEAN in rasters:
        mean = rasters[cf.MEAN]
        files += [mean.with_suffix(".hillshade.qml"), mean.with_suffix(".qlr")]
    return files


def styles(rasters: Mapping[str, Path], spread: Spread, survey: xr.DataArray) -> dict[Path, str]:
    """Return the text of every style by its file.

    Parameters
    ----------
    rasters : GeoTIFF of each layer (`mean`, `variance`, `std`, `status`).
    spread : of their values.
    survey : field that was completed; its units and pixel size are used, its values are not read.

    Returns
    -------
    dict
        `NAME.qml` for each: the mean in viridis, variance and deviation in magma from 0, the status in four
        classes. With a mean also `NAME.hillshade.qml`, and `NAME.qlr`, which opens all of them. Of several
        bands the first is shown.
    """
    units = str(survey.attrs.get("units", "") or "")
    renderers = {layer: _renderer(layer, spread, units) for layer in rasters}
    out = {path.with_suffix(".qml"): _named_style(renderers[layer]) for layer, path in rasters.items()}
    if cf.MEAN in rasters:
        mean = rasters[cf.MEAN]
        shade = _hillshade(z_factor(survey))
        out[mean.with_suffix(".hillshade.qml")] = _named_style(shade, _MULTIPLY)
        out[mean.with_suffix(".qlr")] = _definition(rasters, renderers, shade)
    return out


def z_factor(survey: xr.DataArray) -> float:
    """Return heights in metres per unit of the grid's coordinates, which a hillshade divides by its pixels."""
    box = exact_box(survey)
    if box is None:
        return 1.0
    a, b, _, d, e, _ = tuple(box.affine)[:6]
    metres = math.sqrt(math.prod(grid_spacing(box)))
    return math.sqrt(math.hypot(b, e) * math.hypot(a, d)) / metres


def _renderer(layer: str, spread: Spread, units: str) -> ET.Element:
    if layer == cf.STATUS:
        return _classes()
    low, high = spread.limits(layer)
    unit = cf.squared(units) if layer == cf.VARIANCE and units else units
    return _pseudocolour(low, high, VIRIDIS if layer == cf.MEAN else MAGMA, unit)


def _pseudocolour(low: float, high: float, colours: tuple[str, ...], unit: str) -> ET.Element:
    ends = {"classificationMin": _number(low), "classificationMax": _number(high)}
    renderer = _raster_renderer("singlebandpseudocolor", ends)
    ramp = ET.SubElement(
        ET.SubElement(renderer, "rastershader"),
        "colorrampshader",
        colorRampType="INTERPOLATED",
        classificationMode="1",
        clip="0",
        minimumValue=_number(low),
        maximumValue=_number(high),
        labelPrecision="4",
    )
    for share, colour in zip(np.linspace(0, 1, len(colours)), colours, strict=True):
        value = low + share * (high - low)
        label = f"{value:.4g} {unit}".strip()
        ET.SubElement(ramp, "item", value=_number(value), label=label, color=colour, alpha="255")
    ET.SubElement(
        ramp,
        "rampLegendSettings",
        useContinuousLegend="1",
        direction="0",
        orientation="2",
        prefix="",
        suffix=f" {unit}" if unit else "",
        minimumLabel="",
        maximumLabel="",
    )
    return renderer


def _hillshade(factor: float) -> ET.Element:
    light = {
        "azimuth": str(_AZIMUTH),
        "angle": str(_ANGLE),
        "zfactor": _number(factor),
        "multidirection": "0",
    }
    return _raster_renderer("hillshade", light)


def _classes() -> ET.Element:
    renderer = _raster_renderer("paletted")
    palette = ET.SubElement(renderer, "colorPalette")
    for code, (meaning, colour) in enumerate(zip(cf.STATUS_MEANINGS, STATUS_COLOURS, strict=True)):
        alpha = "0" if code == 0 else "255"
        ET.SubElement(palette, "paletteEntry", value=str(code), label=meaning, color=colour, alpha=alpha)
    return renderer


def _raster_renderer(kind: str, own: Mapping[str, str] = MappingProxyType({})) -> ET.Element:
    """Return a renderer with the attributes that all have, and its own."""
    common = {"type": kind, "band": _BAND, "alphaBand": "-1", "opacity": "1", "nodataColor": ""}
    renderer = ET.Element("rasterrenderer", {**common, **own})
    origin = ET.SubElement(renderer, "minMaxOrigin")
    # "None": the limits are those written here, and stay when one zooms.
    for name, text in (("limits", "None"), ("extent", "WholeRaster"), ("statAccuracy", "Estimated")):
        ET.SubElement(origin, name).text = text
    return renderer


def _number(value: float) -> str:
    return f"{value:.9g}"


def _named_style(renderer: ET.Element, blend: int = _NORMAL) -> str:
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    _look(root, renderer, blend)
    return _QML + _text(root)


def _look(parent: ET.Element, renderer: ET.Element, blend: int) -> None:
    """Add how a layer is drawn."""
    pipe = ET.SubElement(parent, "pipe")
    shaded = renderer.get("type") == "hillshade"
    # A hillshade of pixels that are drawn as squares is a grid of their edges: heights are interpolated first.
    way = "bilinear" if shaded else "nearestNeighbour"
    ET.SubElement(
        ET.SubElement(pipe, "provider"),
        "resampling",
        enabled=str(shaded).lower(),
        zoomedInResamplingMethod=way,
        zoomedOutResamplingMethod=way,
        maxOversampling="2",
    )
    pipe.append(renderer)
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", grayscaleMode="0", colorizeOn="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(pipe, "resamplingStage").text = "provider" if shaded else "resamplingFilter"
    ET.SubElement(parent, "blendMode").text = str(blend)


def _definition(rasters: Mapping[str, Path], renderers: Mapping[str, ET.Element], shade: ET.Element) -> str:
    """Return a group of all rasters: status and deviation switched off, the hillshade over the mean."""
    mean = rasters[cf.MEAN]
    root = ET.Element("qlr")
    # The outer group is what QGIS writes around whatever is selected.
    outer = ET.SubElement(root, "layer-tree-group", name="", checked="Qt::Checked", expanded="1")
    group = ET.SubElement(outer, "layer-tree-group", name=mean.stem, checked="Qt::Checked", expanded="1")
    layers = ET.SubElement(root, "maplayers")
    hidden = [layer for layer in (cf.STATUS, cf.STD, cf.VARIANCE) if layer in rasters]
    for layer in hidden:
        _layer(group, layers, (layer, rasters[layer], mean.parent), renderers[layer], on=False)
    _layer(group, layers, ("hillshade", mean, mean.parent), shade, _MULTIPLY)
    _layer(group, layers, (cf.MEAN, mean, mean.parent), renderers[cf.MEAN])
    return _QLR + _text(root)


def _layer(
    group: ET.Element,
    layers: ET.Element,
    what: tuple[str, Path, Path],
    renderer: ET.Element,
    blend: int = _NORMAL,
    *,
    on: bool = True,
) -> None:
    """Add one layer (its name, its file, the folder of the definition) to the tree and to the layers."""
    layer, path, folder = what
    near = path.resolve().parent == folder.resolve()
    source = f"./{path.name}" if near else str(path.resolve())
    name, key = f"{path.stem}: {_TITLES.get(layer, layer)}", f"geonp_{layer}"
    checked = "Qt::Checked" if on else "Qt::Unchecked"
    about = {"id": key, "name": name, "providerKey": "gdal", "source": source}
    ET.SubElement(group, "layer-tree-layer", about, checked=checked, expanded="0")
    entry = ET.SubElement(layers, "maplayer", type="raster", styleCategories="Symbology")
    for tag, text in (("id", key), ("datasource", source), ("layername", name), ("provider", "gdal")):
        ET.SubElement(entry, tag).text = text
    _look(entry, renderer, blend)


def _text(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
