"""`geonp exceed` as it is typed."""

import json
from pathlib import Path

import numpy as np
import pyogrio.raw
import rasterio
import shapely

from .conftest import Geonp

KRIGED = ("--method", "kriging", "--variogram", "matern32:range=600,sill=2000,nugget=4")


def read(path: Path) -> np.ndarray:
    with rasterio.open(path) as file:
        return file.read(1, masked=True).astype(float).filled(np.nan)


def test_probabilities_and_quantiles(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    level = float(np.nanmedian(read(holey)))
    above, below, median = (tmp_path / f"{name}.tif" for name in ("above", "below", "median"))
    assert geonp("exceed", holey, "--above", level, "-o", above, *KRIGED).exit_code == 0
    assert geonp("exceed", holey, "--below", level, "-o", below, *KRIGED, "--tile", 32).exit_code == 0
    assert geonp("exceed", holey, "--quantile", 0.5, "-o", median, *KRIGED).exit_code == 0
    p = read(above)
    assert ((p >= 0) & (p <= 1)).all()
    assert ((p > 0.05) & (p < 0.95)).any()
    np.testing.assert_allclose(p + read(below), 1, atol=1e-6)
    sure = abs(p - 0.5) > 1e-3
    np.testing.assert_array_equal((read(median) > level)[sure], (p > 0.5)[sure])
    with rasterio.open(above) as file:
        assert file.descriptions[0] == f"probability of more than {level:g}"
        assert file.units[0] == "1"


def test_tables_of_blocks_and_polygons(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    shown = geonp("exceed", holey, "--blocks", 32, "-n", 4, *KRIGED, "-q")
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("| zone | band | pixels |")
    assert len(shown.stdout.splitlines()) == 2 + 4
    csv = tmp_path / "blocks.csv"
    assert geonp("exceed", holey, "--blocks", 32, "-n", 4, "-o", csv, *KRIGED).exit_code == 0
    assert len(csv.read_text().splitlines()) == 1 + 4
    pits = tmp_path / "pits.gpkg"
    shape = np.array([shapely.to_wkb(shapely.box(500_300, 3_999_000, 500_900, 3_999_600))], object)
    pyogrio.raw.write(
        pits, shape, [np.array(["north"], object)], ["pit"], geometry_type="Polygon", crs="EPSG:32616"
    )
    result = geonp(
        "exceed", holey, "--polygons", pits, "--label", "pit", "--above", 300, "-n", 4, *KRIGED, "--json"
    )
    assert result.exit_code == 0, result.stderr
    (area,) = json.loads(result.stdout)["areas"]
    assert (area["zone"], area["pixels"], area["area"]) == ("north", 400, 360_000)
    assert 0 <= area["area_above"] <= area["area"]


def test_bad_input(geonp: Geonp, holey: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.tif"
    wrong = {
        (): "one of --above, --below and --quantile",
        ("--above", 3, "--below", 4): "--above and --below",
        ("--quantile", 1.5): "between 0 and 1",
        ("--blocks", 8, "--quantile", 0.5): "is for rasters",
        ("--blocks", 8, "--polygons", "x.gpkg"): "not both",
        ("--above", 3, "--label", "name"): "--label names polygons",
        ("--above", "nan"): "a threshold is a number",
    }
    for arguments, message in wrong.items():
        result = geonp("exceed", holey, *arguments, "-o", out, *KRIGED)
        assert result.exit_code == 2, arguments
        assert message in result.stderr
    assert geonp("exceed", holey, "--above", 3, *KRIGED).exit_code == 2
    result = geonp("exceed", holey, "--above", 3, "-o", tmp_path / "out.png")
    assert result.exit_code == 2
    result = geonp("exceed", holey, "--above", 3, "-o", out, "--method", "cubic")
    assert result.exit_code == 1
    assert "gives no variance" in result.stderr
    far = tmp_path / "far.gpkg"
    shape = np.array([shapely.to_wkb(shapely.box(0, 0, 9, 9))], object)
    pyogrio.raw.write(
        far, shape, [np.array(["lost"], object)], ["name"], geometry_type="Polygon", crs="EPSG:32616"
    )
    result = geonp("exceed", holey, "--polygons", far, *KRIGED)
    assert result.exit_code == 1
    assert "polygon 'lost' lies outside the raster" in result.stderr
    whole_world = tmp_path / "world.gpkg"
    shape = np.array([shapely.to_wkb(shapely.box(0, 0, 1e7, 1e7))], object)
    pyogrio.raw.write(
        whole_world, shape, [np.array(["all"], object)], ["name"], geometry_type="Polygon", crs="EPSG:3857"
    )
    result = geonp("exceed", holey, "--polygons", whole_world, *KRIGED)
    assert result.exit_code == 1
    assert "polygon 'all' reaches to where the raster's CRS is not defined" in result.stderr
    none = tmp_path / "none.gpkg"
    nothing = np.array([], object)
    pyogrio.raw.write(none, nothing, [nothing], ["name"], geometry_type="Polygon", crs="EPSG:32616")
    result = geonp("exceed", holey, "--polygons", none, *KRIGED)
    assert result.exit_code == 1
    assert "holds no polygon" in result.stderr
    assert not out.exists()
    result = geonp("exceed", holey, "--above", 1e6, "-o", out, *KRIGED)
    assert result.exit_code == 0
    assert "above everything that was observed" in result.stderr
    assert read(out).max() < 1e-6
    assert geonp("exceed", holey, "--above", 1e6, "-o", out, *KRIGED).exit_code == 1
