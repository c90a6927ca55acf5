"""The page: what it tells, what it escapes, what it makes of odd surveys."""

import base64
import hashlib
import html.parser
import io
import json
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import xarray as xr
from PIL import Image

from geonp.errors import InputError, OutputError, UsageError
from geonp.evaluation import WHOLE_UP_TO
from geonp.field import as_field
from geonp.methods.base import Completed, Method, Place, Values
from geonp.report import Report, page
from geonp.report.areas import overview
from geonp.report.images import Picture, data_uri, dots, encode
from geonp.report.words import listed, number, percent
from tests.report.conftest import on_grid


class Outline(html.parser.HTMLParser):
    """Elements of a page in order, with their attributes; text is joined."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


def viewer(text: str) -> dict:
    return json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, re.S)[1])


@dataclass(frozen=True)
class Flat(Method):
    """The mean of the window with a variance of its own; or a failure."""

    name: ClassVar[str] = "flat"
    has_variance: ClassVar[bool] = True
    fails: bool = False

    @property
    def halo(self) -> int:
        return 10

    def complete(self, values: Values, spacing: tuple[float, float], place: Place) -> Completed:
        if self.fails:
            raise ZeroDivisionError("<by> zero")
        mean = np.full((1, *place.wanted.shape), np.nanmean(values), np.float32)
        return Completed(mean, np.full_like(mean, np.nanvar(values)))


def test_every_section_is_there_and_every_figure_has_words(report: Report) -> None:
    found = Outline(report.html)
    assert [s["id"] for s in found.all("section")] == [
        "summary", "maps", "methods", "variogram", "validation", "scores", "provenance",
    ]  # fmt: skip
    assert all(len(image["alt"]) > 20 for image in found.all("img"))
    drawings = found.all("svg")
    assert len(drawings) == 2 + 3 + 1 + 3  # variogram, scatters, distance, calibration
    assert all(len(s["aria-label"]) > 20 and s["role"] == "img" for s in drawings)
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    linked = {a["href"] for a in found.all("a") if a["href"].startswith("#")}
    assert {link[1:] for link in linked} <= set(ids)
    labelled = {attrs["aria-labelledby"] for _, attrs in found.elements if "aria-labelledby" in attrs}
    assert labelled <= set(ids)


def test_nothing_is_fetched(report: Report) -> None:
    found = Outline(report.html)
    sources = [
        attrs[key] for _, attrs in found.elements for key in ("src", "href", "xlink:href") if key in attrs
    ]
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "://" not in re.sub(r"http://www.w3.org/\S+", "", report.html)
    (policy,) = [m["content"] for m in found.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    script = re.search(r"<script>(.*?)</script>", report.html, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_the_scores_are_those_of_the_predictions(
    report: Report, truth: xr.DataArray, sparse: xr.DataArray
) -> None:
    assert report.evaluation is not None
    hidden = int(sparse.isnull().sum())
    for one, row in zip(report.study.hidden, report.evaluation.rows, strict=True):
        assert len(one) == hidden
        assert row.scores.rmse == pytest.approx(np.sqrt(np.mean(one.error**2)))
        np.testing.assert_array_equal(one.truth, truth.values[one.row, one.col].astype("f8"))
        assert f"{number(row.scores.rmse)} m" in report.html
    assert report.evaluation.holdout == "truth"


def test_the_first_method_is_the_result(report: Report, sparse: xr.DataArray) -> None:
    expected = sparse.geonp.complete("kriging")
    np.testing.assert_array_equal(report.study.overview.maps.mean, expected["mean"].values)
    np.testing.assert_array_equal(report.study.overview.maps.variance, expected["variance"].values)
    assert "kriging completes the rest" in Outline(report.html).text


def test_without_a_truth_observations_are_hidden(blind: Report, sparse: xr.DataArray) -> None:
    observed = np.isfinite(sparse.values)
    one = blind.study.hidden[0]
    assert observed[one.row, one.col].all()
    assert blind.study.folds.masks[0].sum() == pytest.approx(0.15 * observed.sum(), abs=2)
    assert len(one) == blind.study.folds.hidden.sum()
    assert "as single pixels" in blind.html
    assert blind.evaluation.holdout == "random"


def test_the_viewer_has_every_method_and_says_who_lacks_a_variance(report: Report) -> None:
    layers = {layer["key"]: layer for layer in viewer(report.html)["layers"]}
    assert [item["name"] for item in layers["mean"]["items"]] == [
        "survey",
        "truth",
        "kriging",
        "cubic",
        "nearest",
    ]
    std = {item["name"]: item for item in layers["std"]["items"]}
    # The picture of the first method stands on the page already.
    placed = {image["id"]: image["alt"] for image in Outline(report.html).all("img")}
    assert "standard deviation of kriging" in placed[std["kriging"]["image"]]
    assert std["cubic"]["missing"] == "gives no variance"
    means = {item["name"]: item for item in layers["mean"]["items"]}
    assert means["cubic"]["source"].startswith("data:image/webp;base64,")
    pictured = [i for layer in layers.values() for i in layer["items"] if i["source"] or i["image"]]
    assert all(item["alternative"] for item in pictured)
    assert {i["image"] for i in pictured} - {""} <= set(placed)


def test_pictures_show_the_values(blind: Report) -> None:
    source = next(m for m in Outline(blind.html).all("img") if "mean completed" in m["alt"])["src"]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB"))
    mean = blind.study.overview.maps.mean
    assert image.shape[:2] == mean.shape
    assert (
        image[np.unravel_index(mean.argmax(), mean.shape)].sum()
        > image[np.unravel_index(mean.argmin(), mean.shape)].sum()
    )


def test_names_from_files_are_escaped(little: xr.DataArray) -> None:
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
    field = little.copy(deep=True).rename(bad)
    field.attrs["units"] = "m<b>"
    made = page(field, methods=[Flat(), Flat(fails=True)], title=bad, command=f"geonp report {bad}").html
    found = Outline(made)
    assert len(found.all("script")) == 2
    assert not [i for i in found.all("img") if "onerror" in i]
    assert not found.all("b")
    assert bad in found.text
    assert "<by> zero" in found.text


def test_the_same_seed_gives_the_same_page(little: xr.DataArray) -> None:
    pages = [page(little, methods=["kriging", "nearest"], seed=3).html for _ in range(2)]
    apart = r"\d{4}-\d\d-\d\d \d\d:\d\d UTC|<td>[^<]*</td></tr>|data:text/csv[^\"]*"
    assert re.sub(apart, "", pages[0]) == re.sub(apart, "", pages[1])


def test_a_method_that_fails_leaves_the_others_alone(little: xr.DataArray) -> None:
    done = page(little, methods=[Flat(fails=True), "nearest"])
    assert done.study.overview.method == "nearest"
    assert any("ZeroDivisionError" in note for note in done.notes)
    assert [one.method for one in done.study.hidden] == ["nearest"]
    with pytest.raises(InputError, match=r"no method could complete.*zero"):
        page(little, methods=[Flat(fails=True)])


def test_folds_are_predicted_each_from_the_others(little: xr.DataArray) -> None:
    made = page(little, methods=["nearest"])
    masks, one = made.study.folds.masks, made.study.hidden[0]
    assert len(masks) > 1
    assert len(one) == sum(mask.sum() for mask in masks)
    observed = np.isfinite(little.values)
    for mask in masks:
        seen = little.where(~mask)
        expected = seen.geonp.complete("nearest", variance=False)["mean"].values
        inside = mask[one.row, one.col]
        np.testing.assert_array_equal(one.mean[inside], expected[one.row, one.col][inside])
    assert observed[one.row, one.col].all()
    assert made.evaluation.rows[0].scores.rmse == pytest.approx(np.sqrt(np.mean(one.error**2)))
    assert f"In {len(masks)} turns 15 % of the observations" in made.html
    assert f"were hidden, {len(one)} in all" in made.html


def test_what_all_methods_say_is_noted_once(little: xr.DataArray) -> None:
    infinite = little.copy(deep=True)
    infinite[0, 0] = np.inf
    made = page(infinite, methods=["nearest", "linear"])
    assert [note for note in made.notes if "infinite" in note] == [
        "1 infinite values are treated as not observed."
    ]


def test_methods_without_a_variance_have_no_calibration(sparse: xr.DataArray, truth: xr.DataArray) -> None:
    made = page(sparse, truth=truth, methods=["nearest", "linear"])
    text = Outline(made.html).text
    assert "There is no uncertainty to check. No variance comes from nearest and linear." in text
    assert "Q-Q" not in text
    assert "Standard deviation" not in text
    assert [layer["key"] for layer in viewer(made.html)["layers"]] == ["mean", "error"]
    assert "gives no uncertainty" in text


def test_a_truth_on_another_grid_is_an_error_that_says_how(sparse: xr.DataArray, truth: xr.DataArray) -> None:
    with pytest.raises(InputError, match="rio warp"):
        page(sparse, truth=on_grid(truth.values, epsg=32617), methods=["nearest"])
    coarse = truth[::2, ::2]
    with pytest.raises(InputError, match="another grid"):
        page(sparse, truth=coarse, methods=["nearest"])


def test_a_truth_of_another_area_is_moved_and_said_so(sparse: xr.DataArray, truth: xr.DataArray) -> None:
    part = truth[10:40, 5:60]
    made = page(sparse, truth=part, methods=["nearest"])
    inside = sparse[10:40, 5:60].isnull()
    assert len(made.study.hidden[0]) == int(inside.sum())
    assert any("moved by 10 rows and 5 columns" in note for note in made.notes)


def test_a_truth_that_knows_no_more_than_the_survey(little: xr.DataArray) -> None:
    made = page(little, truth=little, methods=["nearest"])
    assert any("no pixel that the survey lacks" in note for note in made.notes)
    assert made.evaluation.holdout == "random"


def test_a_survey_without_gaps(truth: xr.DataArray) -> None:
    made = page(truth[:24, :30], methods=["nearest"])
    assert made.evaluation.holdout == "blocks"
    text = Outline(made.html).text
    assert "100 % of 24 x 30 pixels" in text
    assert "No pixel is missing" in text


def test_one_pixel(truth: xr.DataArray) -> None:
    made = page(truth[:1, :1], methods=["kriging", "nearest"])
    text = Outline(made.html).text
    assert "There is nothing to compare with" in text
    assert made.evaluation is None
    assert "scores" not in [s["id"] for s in Outline(made.html).all("section")]
    beside = page(truth[:1, :1], truth=truth[:1, :1], methods=["kriging"])
    assert beside.evaluation is None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_hardly_any_observation(truth: xr.DataArray, count: int) -> None:
    keep = np.zeros(truth.shape, bool)
    keep.flat[np.arange(count) * 701] = True
    made = page(truth.where(keep), truth=truth, methods=["kriging", "nearest"])
    assert made.evaluation is not None
    assert len(made.study.hidden) == 2
    assert np.isfinite(made.study.hidden[0].error).all()


def test_one_row(truth: xr.DataArray) -> None:
    row = truth[:1].where(np.arange(80)[None] % 3 == 0)
    made = page(row, methods=["kriging", "nearest"])
    assert made.evaluation is not None


def test_constant_values(little: xr.DataArray) -> None:
    made = page(little * 0 + 5, truth=little.fillna(0) * 0 + 5, methods=["kriging", "nearest"])
    assert made.evaluation.rows[0].scores.rmse == 0
    assert "nan" not in made.html.split("<main")[1].lower().replace("nance", "")


def test_nothing_observed_and_several_bands_are_errors(truth: xr.DataArray) -> None:
    with pytest.raises(InputError, match="no pixel of 5120 is observed"):
        page(truth * np.nan, methods=["nearest"])
    with pytest.raises(UsageError, match="isel"):
        page(xr.concat([truth, truth], "band"), methods=["nearest"])
    with pytest.raises(UsageError, match="krigging"):
        page(truth, methods=["krigging"])
    with pytest.raises(UsageError, match="a method at least"):
        page(truth, methods=[])


def test_without_a_crs_lengths_are_pixels_and_a_note_says_so(little: xr.DataArray) -> None:
    made = page(xr.DataArray(little.values, dims=("y", "x")), methods=["nearest"])
    assert any("no coordinate reference system" in note for note in made.notes)
    assert made.study.view.unit == "px"


def test_a_south_up_raster_is_shown_north_up(little: xr.DataArray) -> None:
    flipped = on_grid(little.values[::-1], north_up=False)
    pictures = [
        next(m for m in Outline(page(f, methods=["nearest"]).html).all("img") if "of the survey" in m["alt"])[
            "src"
        ]
        for f in (little, flipped)
    ]
    assert pictures[0] == pictures[1]


def test_a_method_named_twice_is_numbered(little: xr.DataArray) -> None:
    made = page(little, methods=["nearest", "nearest"])
    assert [a.method for a in made.study.attempts] == ["nearest", "nearest 2"]


def test_a_large_raster_is_an_overview_and_windows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(WHOLE_UP_TO + 200, 700)).astype("f4")
    values[rng.random(values.shape) > 0.02] = np.nan
    made = page(on_grid(values, name="noise"), methods=["nearest"])
    assert made.study.overview.side == 2
    assert made.study.overview.maps.mean.shape == (612, 350)
    assert made.study.area.window is not None
    assert len(made.evaluation.rows) == 2
    assert any("means of 2 x 2 pixels" in note for note in made.notes)
    window = made.study.area.window
    assert f"Rows {window.row} to {window.stop[0]}" in made.html


def test_an_overview_is_made_of_block_means() -> None:
    values = np.arange(35.0).reshape(5, 7)
    values[0, 0] = np.nan
    coarse, side = overview(as_field(on_grid(values)), most=3)
    assert side == 3
    assert coarse.shape == (1, 2, 3)
    assert coarse.values[0, 0, 0] == np.nanmean(values[:3, :3])
    assert coarse.values[0, 1, 2] == values[3:, 6:].mean()
    assert coarse.odc.geobox.resolution.x == pytest.approx(270)


def test_pictures_keep_within_their_budget() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 4)).astype("u1")
    noise[..., 3] = 255
    pictures = {"a": Picture(noise), "b": Picture(noise[:100, :100], exact=True)}
    free = encode(pictures, 10**9)
    tight = encode(pictures, len(free["a"]) // 2)
    assert list(tight) == ["a", "b"]
    assert len(tight["a"]) < len(free["a"]) / 2
    assert tight["b"] == free["b"] == data_uri(noise[:100, :100])


def test_exact_pictures_lose_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 255, (20, 30, 4)).astype("u1")
    image[..., 3] = 255
    back = Image.open(io.BytesIO(base64.b64decode(data_uri(image).split(",")[1])))
    np.testing.assert_array_equal(np.asarray(back.convert("RGBA")), image)


def test_sparse_values_become_dots_of_their_value() -> None:
    values = np.full((200, 200), np.nan)
    values[50, 60], values[120, 30] = 3, 7
    grown = dots(values)
    assert set(np.unique(grown[np.isfinite(grown)])) == {3, 7}
    assert np.isfinite(grown).sum() > 40
    assert grown[50, 60] == 3
    dense = np.where(np.random.default_rng(0).random((50, 50)) < 0.5, 1.0, np.nan)
    np.testing.assert_array_equal(dots(dense), dense)


def test_a_report_is_written_whole_and_never_over_another(blind: Report, tmp_path) -> None:
    path = blind.write(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == blind.html
    with pytest.raises(OutputError, match="--overwrite"):
        blind.write(path)
    blind.write(path, overwrite=True)
    with pytest.raises(UsageError, match="html"):
        blind.write(tmp_path / "report.pdf")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_jupyter_shows_it_in_a_frame(blind: Report) -> None:
    (frame,) = Outline(blind._repr_html_()).all("iframe")
    assert frame["srcdoc"] == blind.html
    assert "allow-same-origin" not in frame["sandbox"]


def test_numbers_are_read_easily() -> None:
    told = [number(v) for v in (0, 12.5, 12345.6, -3.14159, 1e-9, None, float("nan"), float("inf"))]
    assert told == ["0", "12.5", "12,346", "−3.142", "1.000e−09", "–", "–", "∞"]
    assert [percent(v) for v in (0, 0.0004, 0.125, 0.9999, 1)] == [
        "0 %",
        "< 0.1 %",
        "12.5 %",
        "> 99.9 %",
        "100 %",
    ]
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a"]) == "a"
