"""A report as one page that needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from geonp import __version__
from geonp.report import sections
from geonp.report.maps import MapFigure, Viewer, gallery
from geonp.report.sections import Card, Chart, Table
from geonp.report.study import Study

_SECTIONS = (
    ("summary", "Summary"),
    ("maps", "Maps"),
    ("methods", "Methods"),
    ("variogram", "Variogram"),
    ("validation", "Cross-validation"),
    ("scores", "Scores"),
    ("provenance", "Provenance"),
)


@dataclass(frozen=True, slots=True)
class Page:
    """What the template shows. Everything is text to be escaped but drawings and the viewer's data."""

    title: str
    sections: tuple[tuple[str, str], ...]
    lead: str
    cards: Sequence[Card]
    notes: Sequence[str]
    maps_text: str
    least: float
    maps: Sequence[MapFigure]
    viewer: Viewer
    variogram_text: str
    variogram: Sequence[Chart]
    covariance: Sequence[tuple[str, ...]]
    validation_text: str
    scatters: Sequence[Chart]
    errors: Sequence[MapFigure]
    distances: Sequence[Chart]
    calibration_text: str
    calibration: Sequence[Chart]
    scores: Table | None
    provenance: Sequence[tuple[str, str]] = field(repr=False)
    parameters: Sequence[tuple[str, Sequence[tuple[str, str]]]] = field(repr=False)


def page_of(study: Study, title: str, hillshade: bool, provenance: Sequence[tuple[str, str]]) -> Page:
    """Return the content of a page about a study."""
    pictures = gallery(study, hillshade)
    text = "There are too few observations for a variogram."
    charts: list[Chart] = []
    covariance: list[tuple[str, ...]] = []
    if study.variography is not None:
        text, charts, covariance = sections.variogram(study.variography, study.view.unit)
    told, calibration = sections.calibration(study)
    scores = sections.scores(study)
    lit = ", lit from the north-west" if hillshade else ""
    return Page(
        title=title,
        sections=tuple(entry for entry in _SECTIONS if entry[0] != "scores" or scores is not None),
        lead=sections.lead(study),
        cards=sections.cards(study),
        notes=study.notes,
        maps_text=f"The whole raster, north up{lit}. The survey and its completion share their colours."
        if not study.view.rotated
        else f"The whole raster as it is stored: its rows do not run east{lit}.",
        # Four in a row where they are tall, two where they are wide.
        least=14.5 if study.overview.view.aspect < 0.8 else 24,
        maps=pictures.maps,
        viewer=replace(pictures.viewer, data=Markup(pictures.viewer.data)),
        variogram_text=text,
        variogram=_drawn(charts),
        covariance=covariance,
        validation_text=sections.validation_text(study),
        scatters=_drawn(sections.scatters(study)),
        errors=pictures.errors,
        distances=_drawn(sections.distances(study)),
        calibration_text=told,
        calibration=_drawn(calibration),
        scores=scores,
        provenance=provenance,
        parameters=[(one.method, _parameters(one.described)) for one in study.attempts],
    )


def render(page: Page) -> str:
    """Return the page as HTML; whatever comes from files and names is escaped."""
    style, script = _asset("page.css"), _asset("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        _environment()
        .from_string(_asset("page.html"))
        .render(
            page=page,
            version=__version__,
            style=Markup(style),
            script=Markup(script),
            script_hash=Markup(f"sha256-{digest}"),
        )
    )


@cache
def _asset(name: str) -> str:
    return resources.files("geonp.report").joinpath("templates", name).read_text(encoding="utf-8").strip()


def _environment() -> Environment:
    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def _drawn(charts: Sequence[Chart]) -> list[Chart]:
    return [replace(chart, drawing=Markup(chart.drawing)) for chart in charts]


def _parameters(described: Mapping[str, str]) -> list[tuple[str, str]]:
    return [(key.replace("_", " "), value) for key, value in described.items()]
