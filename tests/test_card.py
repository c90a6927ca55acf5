"""What a notebook shows: the numbers of the prediction, pictures the right way up, nothing from elsewhere."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from PIL import Image

VOID = {"img", "br", "hr", "meta"}


class Page(HTMLParser):
    """Pictures with their alternative texts, the table's rows, and whether every element is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images: list[dict[str, str]] = []
        self.rows: dict[str, str] = {}
        self.words: list[str] = []
        self._open: list[str] = []
        self._key = ""
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append({key: str(value) for key, value in attrs})
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open and self._open[-1] == "th":
            self._key = data
        if self._open and self._open[-1] == "td":
            self.rows[self._key] = data

    def pixels(self, number: int) -> np.ndarray:
        kind, data = self.images[number]["src"].split(",", 1)
        assert kind.startswith("data:image/")
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


@pytest.fixture
def done(survey: xr.DataArray) -> xr.Dataset:
    survey.attrs["units"] = "m"
    return survey.geonp.complete("pykrige")


def test_the_numbers_are_those_of_the_prediction(done: xr.Dataset) -> None:
    page = Page(done.geonp._repr_html_())
    mean, std = done["mean"].values.astype("f8"), np.sqrt(done["variance"].values.astype("f8"))
    assert page.rows["grid"] == "96 × 80 pixels of 90 m, EPSG:32616"
    assert page.rows["mean"] == f"{mean.min():.4g} to {mean.max():.4g} m, {mean.mean():.4g} on average"
    filled = std[std > 0]
    assert (
        page.rows["deviation where filled"] == f"median {np.median(filled):.3g} m, up to {filled.max():.3g}"
    )
    assert page.rows["observed"] == f"{(std == 0).mean():.1%}"
    assert [image["alt"].split(",")[0] for image in page.images] == ["mean", "standard deviation"]


def test_it_is_small_and_needs_nothing_from_elsewhere(done: xr.Dataset) -> None:
    text = done.geonp._repr_html_()
    assert len(text) < 60_000
    assert not re.search(r"https?:|<script|<link|url\(|@import", text)
    assert all(image["src"].startswith("data:image/") for image in Page(text).images)
    assert text == done.geonp._repr_html_()


def test_names_and_units_are_escaped(done: xr.Dataset) -> None:
    nasty = '<b onclick="x()">&'
    renamed = xr.Dataset(
        {nasty: done["mean"].assign_attrs(units=nasty), f"{nasty}_variance": done["variance"]}
    )
    text = renamed.assign_attrs(method=nasty).geonp._repr_html_()
    assert nasty not in text
    page = Page(text)
    assert nasty in "".join(page.words)
    assert nasty in page.images[0]["alt"]


@pytest.mark.parametrize("flip", [False, True], ids=["north up", "south up"])
def test_north_is_up(survey: xr.DataArray, flip: bool) -> None:
    values = survey.copy(data=np.zeros(survey.shape, "f4"))
    values[:20] = 100  # the first rows are the northern ones
    pixels = Page((values[::-1] if flip else values).geonp._repr_html_()).pixels(0)
    assert (pixels[:15] == pixels[0, 0]).all()
    assert (pixels[30:] == pixels[-1, 0]).all()
    assert pixels[0, 0, 1] > pixels[-1, 0, 1]  # viridis ends in yellow


def test_missing_pixels_are_transparent(survey: xr.DataArray) -> None:
    values = survey.copy(data=np.ones(survey.shape, "f4"))
    values[40:60, 30:70] = np.nan
    pixels = Page(values.geonp._repr_html_()).pixels(0)
    assert (pixels[45:55, 35:65, 3] == 0).all()
    assert (pixels[:35, :, 3] == 255).all()


def test_every_variable_with_a_variance_is_shown_up_to_four(survey: xr.DataArray) -> None:
    cube = xr.Dataset({f"v{i}": survey + i for i in range(6)}).geonp.complete("pykrige")
    page = Page(cube.geonp._repr_html_())
    assert len(page.images) == 8
    assert "… and 2 more" in page.words
    assert "mean of v0" in page.images[0]["alt"]


def test_a_large_cube_is_sampled_and_says_so() -> None:
    import dask.array

    lazy = dask.array.random.default_rng(0).normal(size=(3, 3000, 2000), chunks=(1, 500, 500))
    cube = xr.DataArray(lazy.astype("f4"), dims=("time", "y", "x"), name="sst")
    page = Page(cube.geonp._repr_html_())
    assert page.rows["shown"] == "the first of 3 bands, one row and column in 6"
    assert page.rows["grid"] == "3000 × 2000 pixels"
    assert max(page.pixels(0).shape[:2]) <= 128


def test_surveys_and_sets_without_a_grid(survey: xr.DataArray) -> None:
    page = Page(survey.rename("depth").geonp._repr_html_())
    assert page.rows["observed"] == f"{float(survey.notnull().mean()):.1%}"
    assert page.images[0]["alt"].startswith("depth, colours from")
    assert "Nothing on a grid" in xr.Dataset({"n": ("station", [1.0])}).geonp._repr_html_()
    assert "Nothing on a grid" in xr.DataArray([1.0, 2.0]).geonp._repr_html_()
    assert "Nothing on a grid" in xr.DataArray(np.array([["a"]])).geonp._repr_html_()
    empty = Page(survey.where(False).geonp._repr_html_())
    assert empty.rows["values"] == "nothing known"
    one = Page(xr.DataArray(np.ones((1, 1), "f4"), dims=("y", "x")).geonp._repr_html_())
    assert one.rows["grid"] == "1 × 1 pixels"
