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
    assert "leave --method cubic out" in " ".join(result.stderr.split())
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


def test_a_threshold(geonp: Geonp, holey: Path) -> None:
    level = float(np.median(rasterio.open(holey).read(1, masked=True).compressed()))
    above = geonp("suggest", holey, "-n", 3, "--above", level, *KRIGED, "--json")
    assert above.exit_code == 0, above.stderr
    found = json.loads(above.stdout)
    assert found["threshold"] == level
    below = json.loads(geonp("suggest", holey, "-n", 3, "--below", level, *KRIGED, "--json").stdout)
    assert below["sites"] == found["sites"]  # a mistake is a mistake on either side
    shown = geonp("suggest", holey, "-n", 2, "--above", level, *KRIGED)
    assert f"of the expected area on the wrong side of {level:g}" in shown.stderr


def test_lines_in_a_vector_file(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out, geojson, csv = (tmp_path / f"lines.{suffix}" for suffix in ("gpkg", "geojson", "csv"))
    result = geonp("suggest", holey, "--lines", "-n", 2, "--length", 600, "-o", out, *KRIGED)
    assert result.exit_code == 0, result.stderr
    assert "2 lines leave" in result.stderr
    meta, _, wkb, data = pyogrio.raw.read(out)
    assert meta["geometry_type"] == "LineString"
    columns = dict(zip(meta["fields"], data, strict=True))
    assert columns["rank"].tolist() == [1, 2]
    lengths = shapely.length(shapely.from_wkb(wkb))
    np.testing.assert_allclose(columns["length"], 600)
    np.testing.assert_allclose(lengths, 600, atol=45)  # ends are middles of pixels
    assert columns["gain"][0] > 0
    assert geonp("suggest", holey, "--lines", "-n", 1, "--length", 600, "-o", geojson, *KRIGED).exit_code == 0
    places = json.loads(geojson.read_text())["features"][0]["geometry"]
    assert places["type"] == "LineString"
    assert all(-90 < x < -80 and 30 < y < 40 for x, y in places["coordinates"])
    assert geonp("suggest", holey, "--lines", "-n", 1, "--length", 600, "-o", csv, *KRIGED).exit_code == 0
    assert csv.read_text().startswith("rank,x,y,x_end,y_end,length,observations,gain,left,cost\n1,")
    shown = geonp("suggest", holey, "--lines", "-n", 1, "--fixed-cost", 1000, *KRIGED)
    assert shown.stdout.startswith("| rank | x | y | x_end | y_end | length | gain | left |")


def test_bad_lines_and_thresholds(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    wrong = {
        ("--above", 3, "--below", 4): (2, "not both"),
        ("--length", 500): (2, "--length is for lines; add --lines"),
        ("--lines", "--method", "bundled"): (2, "leave --method bundled out"),
        ("--lines", "--length", 99999): (1, "longer than the raster"),
        ("--lines", "--length", -5): (2, "more than 0"),
        ("--lines", "--fixed-cost", -5): (2, "0 or more"),
        ("--lines", "--spacing", 0): (2, "more than 0"),
        ("--above", 1e9): (1, "beyond doubt"),
        ("--above", "nan"): (2, "a threshold is a number"),
        ("--min-distance", "nan"): (2, "0 or more"),
    }
    for arguments, (code, message) in wrong.items():
        extra = () if "bundled" in arguments else KRIGED
        result = geonp("suggest", holey, "-o", tmp_path / "out.gpkg", *arguments, *extra)
        assert result.exit_code == code, (arguments, result.stderr)
        assert message in result.stderr, arguments
    everywhere = write(tmp_path / "mask.tif", np.ones((64, 56), "u1"))
    for price in (0.0, -2.0):
        cost = write(tmp_path / f"cost{price}.tif", np.full((64, 56), price, "f4"))
        result = geonp("suggest", holey, "--cost", cost, *KRIGED)
        assert result.exit_code == 1
        assert f"down to {price:g}; costs are positive" in result.stderr
    result = geonp("suggest", holey, "--mask", everywhere, *KRIGED)
    assert result.exit_code == 1
    assert "the mask leaves no pixel to survey" in result.stderr
    assert not (tmp_path / "out.gpkg").exists()


def test_the_network_is_asked_where_it_is_named(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    barred = np.ones((64, 56), "u1")
    barred[:16, :16] = 0
    mask = write(tmp_path / "mask.tif", barred)
    result = geonp("suggest", holey, "-n", 1, "--method", "neural", "--mask", mask, "--json", "-q")
    assert result.exit_code == 0, result.stderr
    (site,) = json.loads(result.stdout)["sites"]
    assert site["row"] < 16
    assert site["col"] < 16
    assert 0 < site["gain"] < 0.2
