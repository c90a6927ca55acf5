"""The maps of a report: of the whole survey, of every method side by side, and of the errors."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geonp.methods.base import Status
from geonp.report.attempts import Attempt
from geonp.report.colour import (
    STATUS,
    Image,
    Scale,
    paint_status,
    scale_of_deviations,
    scale_of_errors,
    scale_of_values,
    shade,
)
from geonp.report.hidden import Hidden
from geonp.report.images import Picture, dots, encode
from geonp.report.study import Study
from geonp.report.view import View
from geonp.report.words import number, percent

BUDGET = 5_500_000
"""Characters that all pictures of a page may take."""


@dataclass(frozen=True, slots=True)
class Legend:
    """What colours mean: a gradient between two values, or named swatches."""

    gradient: str = ""
    low: str = ""
    high: str = ""
    unit: str = ""
    swatches: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Bar:
    """A scale bar: its length in percent of the map's width, and its label."""

    percent: float
    label: str


@dataclass(frozen=True, slots=True)
class MapFigure:
    """A map with its words. `source` is a data URI, `name` that of the element on the page."""

    key: str
    title: str
    caption: str
    alternative: str
    legend: Legend
    aspect: float
    bar: Bar
    source: str = field(default="", repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Viewer:
    """What stands above the maps of the methods, and what the viewer shows, as JSON."""

    text: str
    data: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Gallery:
    """All pictures of a page."""

    maps: tuple[MapFigure, ...]
    errors: tuple[MapFigure, ...]
    viewer: Viewer


@dataclass(frozen=True, slots=True)
class _Item:
    """One map of the viewer; without a picture, `missing` says why."""

    name: str
    label: str
    alternative: str = ""
    key: str = ""
    missing: str = ""


@dataclass(frozen=True, slots=True)
class _Layer:
    key: str
    title: str
    scale: Scale
    items: tuple[_Item, ...]


class _Painter:
    """Paints maps, and keeps their pictures until they are encoded together."""

    def __init__(self, study: Study, hillshade: bool) -> None:
        self.pictures: dict[str, Picture] = {}
        self._study, self._hillshade = study, hillshade
        known = [study.area.survey.to_numpy(), *([] if study.area.truth is None else [study.area.truth])]
        self.values = scale_of_values(study.overview.survey, *known)
        self.deviations = scale_of_deviations(*_filled_deviations(study))
        self.what = study.name or "values"

    def legend(self, scale: Scale) -> Legend:
        return Legend(scale.css(), number(scale.low), number(scale.high), self._study.unit)

    def surface(self, key: str, values: NDArray[np.float32], view: View) -> None:
        """Paint values that are known everywhere, or nearly so."""
        image = view.turn(values)
        painted = shade(image, self.values, view.spacing) if self._hillshade else self.values.paint(image)
        self.pictures[key] = Picture(painted, exact=bool(np.isnan(values).mean() > 0.2))

    def survey(self, key: str, values: NDArray[np.float32], view: View) -> None:
        """Paint observations, each large enough to be seen."""
        if np.isfinite(values).mean() > 0.5:
            self.surface(key, values, view)
        else:
            self.pictures[key] = Picture(self.values.paint(dots(view.turn(values))), exact=True)

    def painted(self, key: str, image: Image, exact: bool = False) -> None:
        self.pictures[key] = Picture(image, exact)


def gallery(study: Study, hillshade: bool) -> Gallery:
    """Return every map of a page; lit from the north-west with `hillshade`."""
    painter = _Painter(study, hillshade)
    maps = _whole(study, painter)
    layers = [_means(study, painter), _deviations(study, painter)]
    errors = []
    if study.hidden:
        layers.append(_errors(study, painter))
        errors.append(_error_map(study, layers[-1]))
    sources = encode(painter.pictures, BUDGET)
    placed = [
        replace(one, source=sources[one.key], name=f"picture{n}") for n, one in enumerate((*maps, *errors), 1)
    ]
    on_page = {one.key: one.name for one in placed}
    shown = [layer for layer in layers if any(item.key for item in layer.items)]
    return Gallery(
        tuple(placed[: len(maps)]), tuple(placed[len(maps) :]), _viewer(study, shown, sources, on_page)
    )


def _whole(study: Study, painter: _Painter) -> list[MapFigure]:
    """Return the survey, its completion, the deviation and the status."""
    whole, unit, what = study.overview, study.unit, painter.what
    view, maps = whole.view, whole.maps
    seen = study.summary.observed[0] / study.summary.pixels
    painter.survey("survey", whole.survey, view)
    painter.surface("mean", maps.mean, view)
    painter.painted("status", paint_status(view.turn(maps.status)), exact=True)
    low, high = (number(float(f(maps.mean))) for f in (np.nanmin, np.nanmax))
    length, label = view.scale_bar()
    bar = Bar(round(100 * length / view.width, 2), label)
    here: dict[str, Any] = {"aspect": round(view.aspect, 4), "bar": bar}
    out = [
        MapFigure(
            "survey",
            "Observed.",
            f"{percent(seen)} of the pixels; the others are blank.",
            f"Map of the survey: {what} at the {percent(seen)} of the pixels that are observed.",
            painter.legend(painter.values),
            **here,
        ),
        MapFigure(
            "mean",
            "Mean.",
            f"As {whole.method} completes it: {low} to {high}{_after(unit)}.",
            f"Map of the mean completed by {whole.method}: {what} from {low} to {high}{_after(unit)}.",
            painter.legend(painter.values),
            **here,
        ),
    ]
    if maps.variance is not None:
        std, scale = np.sqrt(maps.variance), painter.deviations
        filled = std[maps.status > Status.OBSERVED]
        painter.painted("std", scale.paint(view.turn(std)))
        middle, most = (
            (number(float(v)) for v in np.nanpercentile(filled, [50, 100])) if filled.size else ("0", "0")
        )
        out.append(
            MapFigure(
                "std",
                "Standard deviation.",
                f"0 where observed; elsewhere its median is {middle}{_after(unit)}, its largest {most}.",
                f"Map of the standard deviation of {whole.method}: median {middle}, largest {most}{_after(unit)}.",
                painter.legend(scale),
                **here,
            )
        )
    shares = {s: float((maps.status == s).mean()) for s in Status}
    there = [s for s in Status if shares[s] > 0]
    told = ", ".join(f"{s.name.lower()} {percent(shares[s])}" for s in there)
    swatches = tuple((f"{s.name.lower()} ({percent(shares[s])})", STATUS[s]) for s in there)
    cells = "" if whole.side == 1 else f" Cells of {whole.side} x {whole.side} pixels."
    out.append(
        MapFigure(
            "status",
            "Status.",
            f"Extrapolated: no observation within the method's reach.{cells}",
            f"Map of the status of every pixel: {told}.",
            Legend(swatches=swatches),
            **here,
        )
    )
    return out


def _means(study: Study, painter: _Painter) -> _Layer:
    area, view = study.area, study.area_view
    key = "survey" if area.window is None else "area-survey"
    if area.window is not None:
        painter.survey(key, area.survey.to_numpy()[0], view)
    items = [_Item("survey", "survey", f"Map of the observed {painter.what}", key)]
    if area.truth is not None:
        painter.surface("area-truth", area.truth, view)
        items.append(_Item("truth", "truth", f"Map of the true {painter.what}", "area-truth"))
    rmse = _rmse(study)
    for one in study.attempts:
        if one.maps is None:
            items.append(_failed(one))
            continue
        key = "mean" if one.maps is study.overview.maps else f"mean-{one.method}"
        if one.maps is not study.overview.maps:
            painter.surface(key, one.maps.mean, view)
        score = f", RMSE {rmse[one.method]}" if one.method in rmse else ""
        label = f"{one.method}{score}"
        items.append(_Item(one.method, label, f"Map of the mean completed by {label}", key))
    return _Layer("mean", "mean", painter.values, tuple(items))


def _deviations(study: Study, painter: _Painter) -> _Layer:
    stds = {
        one.method: np.sqrt(one.maps.variance)
        for one in study.attempts
        if one.maps is not None and one.maps.variance is not None
    }
    items = []
    for one in study.attempts:
        if one.method not in stds:
            items.append(
                _failed(one)
                if one.maps is None
                else _Item(one.method, one.method, missing="gives no variance")
            )
            continue
        key = "std" if one.maps is study.overview.maps else f"std-{one.method}"
        if one.maps is not study.overview.maps:
            painter.painted(key, painter.deviations.paint(study.area_view.turn(stds[one.method])))
        middle = (
            number(float(np.median(stds[one.method][~study.area.seen]))) if not study.area.seen.all() else "0"
        )
        text = f"Map of the standard deviation of {one.method}, median {middle}{_after(study.unit)}"
        items.append(_Item(one.method, one.method, text, key))
    return _Layer("std", "standard deviation", painter.deviations, tuple(items))


def _errors(study: Study, painter: _Painter) -> _Layer:
    """Return the errors of hidden pixels that lie in the area shown."""
    view, (top, left) = study.area_view, study.area.origin
    inside = {one.method: _inside(one, view, (top, left)) for one in study.hidden}
    scale = scale_of_errors(
        *[one.error[where] for one, where in zip(study.hidden, inside.values(), strict=True)]
    )
    rmse = _rmse(study)
    items = []
    for one in study.attempts:
        found = next((h for h in study.hidden if h.method == one.method), None)
        if found is None:
            items.append(_failed(one))
            continue
        where = inside[one.method]
        image = np.full(view.shape, np.nan)
        image[found.row[where] - top, found.col[where] - left] = found.error[where]
        key = f"error-{one.method}"
        sparse = np.isfinite(image).mean() < 0.5
        turned = view.turn(image)
        painter.painted(key, scale.paint(dots(turned) if sparse else turned), exact=bool(sparse))
        text = (
            f"Map of the errors of {one.method} at {int(where.sum()):,} hidden pixels: RMSE {rmse[one.method]}"
            f"{_after(study.unit)}, mean {number(float(found.error.mean()))}"
        )
        items.append(_Item(one.method, f"{one.method}, RMSE {rmse[one.method]}", text, key))
    return _Layer("error", "error", scale, tuple(items))


def _inside(one: Hidden, view: View, origin: tuple[int, int]) -> NDArray[np.bool_]:
    row, col = one.row - origin[0], one.col - origin[1]
    return np.asarray((row >= 0) & (row < view.shape[0]) & (col >= 0) & (col < view.shape[1]))


def _error_map(study: Study, layer: _Layer) -> MapFigure:
    """Return the errors of the first method that has any, as a figure."""
    item = next(item for item in layer.items if item.key)
    length, label = study.area_view.scale_bar()
    return MapFigure(
        item.key,
        f"Errors of {item.name}.",
        "Predicted minus true: red is too high, blue too low.",
        item.alternative,
        Legend(layer.scale.css(), number(layer.scale.low), number(layer.scale.high), study.unit),
        round(study.area_view.aspect, 4),
        Bar(round(100 * length / study.area_view.width, 2), label),
    )


def _viewer(
    study: Study, layers: Sequence[_Layer], sources: Mapping[str, str], on_page: Mapping[str, str]
) -> Viewer:
    """Return the viewer; pictures that stand on the page already are referred to by their names."""
    view = study.area_view
    content = {
        "aspect": round(view.aspect, 4),
        "width": view.width,
        "columns": view.shape[1],
        "unit": view.unit,
        "left": next((a.method for a in study.attempts if a.maps is not None), "survey"),
        "right": next((a.method for a in study.attempts[1:] if a.maps is not None), "survey"),
        "layers": [
            {
                "key": layer.key,
                "title": layer.title,
                "legend": {
                    "gradient": layer.scale.css(),
                    "low": number(layer.scale.low),
                    "high": number(layer.scale.high),
                    "unit": study.unit,
                },
                "items": [
                    {
                        "name": item.name,
                        "label": item.label,
                        "alternative": item.alternative,
                        "missing": item.missing,
                        "image": on_page.get(item.key, ""),
                        "source": "" if item.key in on_page else sources.get(item.key, ""),
                    }
                    for item in layer.items
                ],
            }
            for layer in layers
        ],
    }
    # What could end the script element, or begin a comment in it, is spelled as JSON's escapes.
    text = json.dumps(content).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    window = study.area.window
    where = (
        "The whole survey"
        if window is None
        else f"Rows {window.row} to {window.stop[0]}, columns {window.col} to {window.stop[1]} at full resolution"
    )
    return Viewer(f"{where}, with the same colours in every map.", text)


def _filled_deviations(study: Study) -> list[NDArray[np.float32]]:
    """Return the deviations of every method where something was filled."""
    maps = [study.overview.maps, *(one.maps for one in study.attempts if one.maps is not None)]
    return [np.sqrt(one.variance[one.status > Status.OBSERVED]) for one in maps if one.variance is not None]


def _failed(one: Attempt) -> _Item:
    return _Item(one.method, one.method, missing=f"failed: {one.failure}" if one.failure else "has no score")


def _rmse(study: Study) -> dict[str, str]:
    return {one.method: number(float(np.sqrt((one.error**2).mean()))) for one in study.hidden}


def _after(unit: str) -> str:
    return f" {unit}" if unit else ""
