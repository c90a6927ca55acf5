"""The registry: every entry is whole, and tiles have the addresses that their publishers use."""

import re

import pytest
from geonp.datasets import data_set, data_sets

from geonp.errors import UsageError


@pytest.mark.parametrize("name", list(data_sets()))
def test_every_entry_is_whole(name: str) -> None:
    data = data_set(name)
    assert data.title
    assert data.licence
    assert data.citation
    assert data.manual or all(file.urls for file in data.files)
    for file in data.files:
        assert all(re.match(r"https?://", url) for url in file.urls)
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.md5 is None or re.fullmatch(r"[0-9a-f]{32}", file.md5)


def test_a_typing_mistake_is_answered_with_the_name() -> None:
    with pytest.raises(UsageError, match="did you mean fashion-mnist"):
        data_set("fashionmnist")


def test_addresses_of_tiles() -> None:
    srtm, copernicus = data_set("srtm").tile("s33w071"), data_set("copernicus").tile("N46E008")
    assert srtm.name == "S33W071.hgt.gz"
    assert srtm.urls == ("https://s3.amazonaws.com/elevation-tiles-prod/skadi/S33/S33W071.hgt.gz",)
    cell = "Copernicus_DSM_COG_10_N46_00_E008_00_DEM"
    assert copernicus.urls == (f"https://copernicus-dem-30m.s3.amazonaws.com/{cell}/{cell}.tif",)


@pytest.mark.parametrize("tile", ["N46", "46N008E", "N91E000", "N00E181", "../../etc/passwd", "N46E0080"])
def test_what_is_no_tile(tile: str) -> None:
    with pytest.raises(UsageError, match="is no tile"):
        data_set("srtm").tile(tile)


def test_sets_without_tiles_say_so() -> None:
    with pytest.raises(UsageError, match="not made of tiles"):
        data_set("mnist").tile("N46E008")
