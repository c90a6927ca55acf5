"""`geonp suggest` as it is typed."""

import json
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely

from .conftest import Geonp, write

KRIGED = ("--method", "kriging", "--variogram", "matern32:range=600,sill=2000,nugget=4")


def test_sites_in_a_vector_file(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out = tmp_path / "sites.gpkg"
    result = geonp("suggest", holey, "-n", 6, "-o", out, *KRIGED)
    assert result.exit_code == 0, result.stderr
    assert "6 sites leave" in result.stderr
    meta, _, wkb, data = pyogrio.raw.read(out)
    columns = dict(zip(meta["fields"], data, strict=True))
    assert columns["rank"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (np.diff(columns["left"]) < 0).all()
    assert "32616" in meta["crs"]
    with rasterio.open(holey) as file:
        survey = file.read(1)
        places = [(point.x, point.y) for point in shapely.from_wkb(wkb)]
        for (row, col), place in zip(zip(columns["row"], columns["col"], strict=True), places, strict=True):
            assert survey[row, col] == file.nodata
            assert file.index(*place) == (row, col)


def test_other_forms(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    shown = geonp("suggest", holey, "-n", 3, *KRIGED)
    assert shown.stdout.splitlines()[0] == "| rank | x | y | std | gain | left |"
    assert len(shown.stdout.splitlines()) == 5
    found = json.loads(geonp("suggest", holey, "-n", 3, *KRIGED, "--json").stdout)
    assert [site["rank"] for site in found["sites"]] == [1, 2, 3]
    csv, geojson = tmp_path / "s.csv", tmp_path / "s.geojson"
    assert geonp("suggest", holey, "-n", 3, "-o", csv, *KRIGED).exit_code == 0
    assert csv.read_text().splitlines()[0] == "rank,row,col,x,y,std,gain,left,cost"
    assert geonp("suggest", holey, "-n", 3, "-o", geojson, *KRIGED).exit_code == 0
    point = json.loads(geojson.read_text())["features"][0]["geometry"]["coordinates"]
    assert -90 < point[0] < -80
    assert 30 < point[1] < 40


def test_masks_and_costs(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    barred = np.zeros((64, 56), "u1")
    barred[:, :40] = 1
    mask = write(tmp_path / "mask.tif", barred)
    cost = write(
        tmp_path / "cost.tif", np.where(np.arange(64)[:, None] < 20, 1.0, 50.0) * np.ones((64, 56), "f4")
    )
    result = geonp("suggest", holey, "-n", 4, "--mask", mask, "--cost", cost, *KRIGED, "--json")
    assert result.exit_code == 0, result.stderr
    for site in json.loads(result.stdout)["sites"]:
        assert site["col"] >= 40
        assert site["row"] < 20


def test_bad_input(geonp: Geonp, holey: Path, dem: Path, tmp_path: Path) -> None:
    assert geonp("suggest", holey, "-n", 0).exit_code == 2
    result = geonp("suggest", holey, "-n", 99999, *KRIGED)
    assert result.exit_code == 1
    assert "neither observed nor masked" in result.stderr
    result = geonp("suggest", holey, "-o", tmp_path / "sites.xlsx", *KRIGED)
    assert result.exit_code == 2
    assert ".gpkg" in result.stderr
    result = geonp("suggest", holey, "--method", "cubic")
    assert result.exit_code == 2
    assert "leave --method cubic out" in result.stderr
    small = write(tmp_path / "small.tif", np.zeros((5, 5), "f4"))
    result = geonp("suggest", holey, "--mask", small, *KRIGED)
    assert result.exit_code == 1
    assert "rio warp" in result.stderr
    result = geonp("suggest", dem, *KRIGED)
    assert result.exit_code == 1
    out = tmp_path / "sites.gpkg"
    out.write_bytes(b"mine")
    result = geonp("suggest", holey, "-o", out, *KRIGED)
    assert result.exit_code == 1
    assert out.read_bytes() == b"mine"
