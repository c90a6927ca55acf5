"""Names and words of files do not become markup, and do not steer the terminal."""

from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import rasterio

from .conftest import Geonp, write

EVIL = "<script>alert(1)</script>"


@pytest.fixture
def evil(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """A survey whose name, band description and unit are markup."""
    values = jacksboro[100:124, 120:150].astype("f4")
    values[np.random.default_rng(0).random(values.shape) > 0.25] = -9999
    path = write(tmp_path / '<img src=x onerror=alert(1)> & "so".tif', values, nodata=-9999)
    with rasterio.open(path, "r+") as file:
        file.set_band_description(1, EVIL)
        file.set_band_unit(1, '"><img src=x onerror=alert(1)>')
    return path


def test_nothing_of_a_file_is_markup_in_a_report(geonp: Geonp, evil: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    done = geonp("report", evil, "--methods", "nearest", "-o", page, "-q")
    assert done.exit_code == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "&lt;img src=x" in text
    found = Elements()
    found.feed(text)
    assert not [name for name in found.attributes if name.startswith("on")]
    assert not [body for body in found.scripts if body.strip().startswith("alert")]


class Elements(HTMLParser):
    """The names of all attributes of a page, and what its scripts hold, as a browser would see them."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: set[str] = set()
        self.scripts: list[str] = []
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes |= {name for name, _ in attrs}
        self._inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts.append(data)


def test_styles_stay_well_formed(geonp: Geonp, evil: Path, tmp_path: Path) -> None:
    mean = tmp_path / "a & <b>.tif"
    done = geonp("predict", evil, "--method", "nearest", "--mean", mean, "--style", "-q")
    assert done.exit_code == 0, done.stderr
    for written in (*tmp_path.glob("*.qml"), *tmp_path.glob("*.qlr")):
        root = ET.fromstring(written.read_bytes())
        assert not list(root.iter("script"))
        assert not list(root.iter("img"))
    with rasterio.open(mean) as file:
        assert file.descriptions == (EVIL,)


def test_an_error_does_not_steer_the_terminal(geonp: Geonp, tmp_path: Path) -> None:
    name = tmp_path / "a\x1b[2J\nb.csv"
    name.write_text("x,y,z\n1,2,three\n")
    done = geonp("predict", name, "--res", 1, "--mean", tmp_path / "m.tif", "-q")
    assert done.exit_code == 1
    assert "\x1b" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_zarr_store_is_replaced_when_asked_and_no_other_folder(
    geonp: Geonp, holey: Path, tmp_path: Path
) -> None:
    store, other = tmp_path / "out.zarr", tmp_path / "other.zarr"
    arguments = ("predict", holey, "--method", "nearest", "-q", "--to")
    assert geonp(*arguments, store).exit_code == 0
    (store / "older").touch()
    refused = geonp(*arguments, store)
    assert refused.exit_code == 1
    assert "exists already" in refused.stderr
    assert geonp(*arguments, store, "--overwrite").exit_code == 0
    assert not (store / "older").exists()
    other.mkdir()
    (other / "mine.txt").touch()
    assert geonp(*arguments, other, "--overwrite").exit_code == 1
    assert (other / "mine.txt").exists()
