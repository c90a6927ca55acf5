"""Styles for QGIS: what its renderers read is there and says the right thing; loaded in QGIS where it is installed."""

import json
import math
import shutil
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import odc.geo.xr  # noqa: F401 - the accessor
import pytest
import rasterio
import xarray as xr
from affine import Affine
from click.testing import CliRunner, Result
from geonp.cli import main
from matplotlib import colormaps
from matplotlib.colors import to_hex
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr

from geonp.field import as_field
from geonp.io import cf, qml
from geonp.report.colour import STATUS

PSEUDOCOLOUR, HILLSHADE, PALETTED = "singlebandpseudocolor", "hillshade", "paletted"


@pytest.fixture
def geonp() -> Iterator[object]:
    def run(*args: object) -> Result:
        return CliRunner().invoke(main, [str(arg) for arg in args])

    with warnings.catch_warnings():
        yield run


@pytest.fixture
def file(survey: xr.DataArray, tmp_path: Path) -> Path:
    path = tmp_path / "survey.tif"
    survey.odc.write_cog(path)
    with rasterio.open(path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as out:
        out.set_band_unit(1, "m & more")
    return path


def style(path: Path) -> ET.Element:
    root = ET.fromstring(path.read_text(encoding="utf-8"))
    assert root.tag == "qgis"
    assert path.read_text().startswith("<!DOCTYPE qgis ")
    return root


def renderer(root: ET.Element, kind: str) -> ET.Element:
    """Return the renderer, with what QgsRasterRenderer::readXml and QgsRasterPipe need."""
    (pipe,) = root.iter("pipe")
    found = pipe.find("rasterrenderer")
    assert found is not None
    assert found.get("type") == kind
    assert found.get("band") == "1"
    assert 0 <= float(found.get("opacity", "")) <= 1
    assert {"brightnesscontrast", "huesaturation", "rasterresampler"} <= {child.tag for child in pipe}
    assert found.find("minMaxOrigin/limits").text == "None"
    return found


def ramp(root: ET.Element) -> tuple[np.ndarray, list[str], list[str]]:
    """Return values, colours and labels of a colour ramp, with what QgsColorRampShader::readXml needs."""
    found = renderer(root, PSEUDOCOLOUR)
    shader = found.find("rastershader/colorrampshader")
    assert shader.get("colorRampType") == "INTERPOLATED"
    assert shader.get("classificationMode") in ("1", "2", "3")
    items = shader.findall("item")
    values = np.array([float(item.get("value")) for item in items])
    assert (np.diff(values) > 0).all()
    assert float(shader.get("minimumValue")) == values[0] == float(found.get("classificationMin"))
    assert float(shader.get("maximumValue")) == values[-1] == float(found.get("classificationMax"))
    assert all(item.get("alpha") == "255" for item in items)
    return values, [item.get("color") for item in items], [item.get("label") for item in items]


def test_predict_writes_a_style_beside_every_raster(geonp, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    names = {"mean": "height.tif", "variance": "var.tif", "std": "std.tif", "status": "status.tif"}
    mean, variance, std, status = (out / name for name in names.values())
    result = geonp("predict", file, "-o", mean, variance, "--std", std, "--status", status,
                   "--method", "pykrige", "--style")  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "height.hillshade.qml", "height.qlr", "height.qml", "height.tif", "status.qml", "status.tif",
        "std.qml", "std.tif", "var.qml", "var.tif",
    ]  # fmt: skip
    with rasterio.open(mean) as a, rasterio.open(std) as b, rasterio.open(variance) as c:
        heights, deviations, variances = a.read(1), b.read(1), c.read(1)
    values, colours, labels = ramp(style(out / "height.qml"))
    np.testing.assert_allclose(values[[0, -1]], np.percentile(heights, [1, 99]), rtol=1e-6)
    assert colours == [to_hex(colormaps["viridis"](x)) for x in np.linspace(0, 1, 9)]
    assert labels[0] == f"{values[0]:.4g} m & more"
    for layer, name in ((deviations, "std.qml"), (variances, "var.qml")):
        values, colours, _ = ramp(style(out / name))
        assert values[0] == 0
        assert values[-1] == pytest.approx(np.percentile(layer, 99), rel=1e-6)
        assert colours == [to_hex(colormaps["magma"](x)) for x in np.linspace(0, 1, 9)]
    assert style(out / "height.qml").find("blendMode").text == "0"


def test_classes_of_the_status_are_those_of_the_layer() -> None:
    root = ET.fromstring(qml.styles({"status": Path("s.tif")}, qml.Spread(1), xr.DataArray())[Path("s.qml")])
    entries = renderer(root, PALETTED).findall("colorPalette/paletteEntry")
    assert [(int(e.get("value")), e.get("label")) for e in entries] == list(enumerate(cf.STATUS_MEANINGS))
    assert [e.get("color") for e in entries] == list(STATUS.values())
    assert [e.get("alpha") for e in entries] == ["0", "255", "255", "255"]


@pytest.mark.parametrize(
    ("crs", "step", "factor"),
    [
        ("EPSG:32616", 30, 1),
        ("EPSG:2274", 30, 3937 / 1200),  # US survey feet a metre
        ("EPSG:4326", 1 / 1200, 1 / (111_320 * math.sqrt(math.cos(math.radians(36.5))))),
        (None, 30, 1),
    ],
    ids=["metres", "feet", "degrees", "no CRS"],
)
def test_a_hillshade_is_as_steep_as_the_ground(crs: str | None, step: float, factor: float) -> None:
    """QGIS divides heights by pixel sizes in the units of the CRS."""
    corner = (
        Affine.translation(-84.5, 36.5 + 10 * step) if crs == "EPSG:4326" else Affine.translation(5e5, 4e6)
    )
    box = GeoBox((20, 20), corner * Affine.scale(step, -step), crs)
    field = as_field(wrap_xr(np.zeros((20, 20), "f4"), box))
    assert qml.z_factor(field) == pytest.approx(factor, rel=0.004)
    text = qml.styles({"mean": Path("m.tif")}, qml.Spread(400), field)[Path("m.hillshade.qml")]
    shade = renderer(ET.fromstring(text), HILLSHADE)
    assert float(shade.get("zfactor")) == pytest.approx(factor, rel=0.004)
    assert 0 <= float(shade.get("azimuth")) <= 360
    assert 0 <= float(shade.get("angle")) <= 90
    assert ET.fromstring(text).find("blendMode").text == "6"  # QgsPainting::BlendMultiply


def test_the_definition_holds_all_layers_and_finds_their_files(tmp_path: Path) -> None:
    far = tmp_path / "far"
    rasters = {"mean": tmp_path / "mean.tif", "variance": far / "var.tif", "status": tmp_path / "status.tif"}
    text = qml.styles(rasters, qml.Spread(1), xr.DataArray(np.zeros((2, 2)), dims=("y", "x")))
    root = ET.fromstring(text[tmp_path / "mean.qlr"])
    assert root.tag == "qlr"
    tree = root.findall("layer-tree-group/layer-tree-group/layer-tree-layer")
    layers = {one.find("id").text: one for one in root.findall("maplayers/maplayer")}
    assert {one.get("id") for one in tree} == set(layers)
    assert [one.get("id") for one in tree] == [
        "geonp_status",
        "geonp_variance",
        "geonp_hillshade",
        "geonp_mean",
    ]
    assert [one.get("checked") for one in tree] == ["Qt::Unchecked"] * 2 + ["Qt::Checked"] * 2
    assert layers["geonp_mean"].find("datasource").text == "./mean.tif"
    assert layers["geonp_variance"].find("datasource").text == str(far / "var.tif")
    assert layers["geonp_hillshade"].find("blendMode").text == "6"
    assert all(one.get("type") == "raster" and one.find("provider").text == "gdal" for one in layers.values())


def test_limits_are_of_the_values_whatever_the_windows() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(100, 10, (2, 1000, 1000)).astype("f4")
    values[0, :100] = np.nan
    values[1] = 1e6  # only the first band is shown
    whole, parts = qml.Spread(10**6), qml.Spread(10**6)
    whole.add({"mean": values, "variance": values})
    for row in range(0, 1000, 250):
        parts.add({"mean": values[:, row : row + 250], "variance": values[:, row : row + 250]})
    true = np.nanpercentile(values[0], [1, 99])
    for spread in (whole, parts):
        np.testing.assert_allclose(spread.limits("mean"), true, atol=0.15)
        assert spread.limits("variance") == pytest.approx((0, true[1]), abs=0.15)


def test_limits_of_nothing_and_of_one_value() -> None:
    assert qml.Spread(4).limits("mean") == (0, 1)
    flat = qml.Spread(4)
    flat.add({"mean": np.full((1, 2, 2), 50, "f4"), "variance": np.zeros((1, 2, 2), "f4")})
    assert flat.limits("mean") == (49.5, 50.5)
    assert flat.limits("variance") == (0, 1)
    rare = qml.Spread(10_000)
    rare.add({"variance": np.pad(np.full((1, 1, 1), 9, "f4"), ((0, 0), (0, 99), (0, 99)))})
    assert rare.limits("variance") == (0, 9)


# --- bad calls ---


def test_a_style_that_exists_is_not_replaced_unasked(geonp, file: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "mean.qml"
    theirs.write_text("mine")
    call = ("predict", file, "--mean", tmp_path / "mean.tif", "--method", "nearest", "--style")
    refused = geonp(*call)
    assert refused.exit_code == 1
    assert "mean.qml: exists already" in refused.stderr
    assert not (tmp_path / "mean.tif").exists()
    assert theirs.read_text() == "mine"
    assert geonp(*call, "--overwrite").exit_code == 0
    ramp(style(theirs))


def test_a_run_that_fails_leaves_neither_rasters_nor_styles(
    geonp, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> dict[Path, str]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(qml, "styles", full)
    result = geonp("predict", file, "--mean", tmp_path / "mean.tif", "--method", "nearest", "--style")
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["survey.tif"]


def test_a_container_has_no_style(geonp, file: Path, tmp_path: Path) -> None:
    result = geonp("predict", file, "--to", tmp_path / "out.nc", "--method", "nearest", "--style")
    assert result.exit_code == 2
    assert "--style is for GeoTIFF" in result.stderr


# --- QGIS itself ---

LOAD = """
import json, os, sys
from qgis.core import QgsApplication, QgsLayerDefinition, QgsProject, QgsRasterLayer
application = QgsApplication([], False)
application.initQgis()
folder, found = sys.argv[1], {}
for name in ("mean", "var", "status"):
    layer = QgsRasterLayer(os.path.join(folder, name + ".tif"), name)
    style = layer.renderer()
    found[name] = [layer.isValid(), style.type()]
    if style.type() == "singlebandpseudocolor":
        shader = style.shader().rasterShaderFunction()
        items = [[i.value, i.color.name()] for i in shader.colorRampItemList()]
        found[name] += [items, shader.minimumValue(), shader.maximumValue()]
    if style.type() == "paletted":
        found[name] += [[[c.value, c.label, c.color.alpha()] for c in style.classes()]]
project = QgsProject.instance()
read, message = QgsLayerDefinition.loadLayerDefinition(
    os.path.join(folder, "mean.qlr"), project, project.layerTreeRoot()
)
found["qlr"] = [read, message]
for node in project.layerTreeRoot().findLayers():
    layer = node.layer()
    found[layer.name()] = [
        layer.isValid(), layer.renderer().type(), int(layer.blendMode()), node.isVisible()
    ]
print("FOUND" + json.dumps(found), flush=True)
os._exit(0)  # QGIS crashes while Python takes it apart
"""


def test_qgis_loads_them(geonp, file: Path, tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin")
    has = python and subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode == 0
    if not has:
        pytest.skip("QGIS's Python bindings are not installed")
    rasters = [tmp_path / f"{name}.tif" for name in ("mean", "var", "status")]
    call = ("predict", file, "-o", *rasters[:2], "--status", rasters[2], "--method", "pykrige", "--style")
    assert geonp(*call).exit_code == 0
    done = subprocess.run(
        [python, "-c", LOAD, tmp_path],
        capture_output=True,
        text=True,
        env={"QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=120,
    )
    found = json.loads(done.stdout.partition("FOUND")[2])
    values, colours, _ = ramp(style(tmp_path / "mean.qml"))
    valid, kind, items, low, high = found["mean"]
    assert (valid, kind) == (True, PSEUDOCOLOUR)
    np.testing.assert_allclose([item[0] for item in items], values)
    assert [item[1] for item in items] == colours
    assert (low, high) == pytest.approx((values[0], values[-1]))
    assert found["var"][:2] == [True, PSEUDOCOLOUR]
    assert found["status"][:2] == [True, PALETTED]
    assert found["status"][2] == [
        [code, text, 255 if code else 0] for code, text in enumerate(cf.STATUS_MEANINGS)
    ]
    assert found["qlr"] == [True, ""]
    multiply = 13  # QPainter::CompositionMode_Multiply
    assert found["mean: mean"] == [True, PSEUDOCOLOUR, 0, True]
    assert found["mean: hillshade"] == [True, HILLSHADE, multiply, True]
    assert found["var: variance"] == [True, PSEUDOCOLOUR, 0, False]
    assert found["status: status"] == [True, PALETTED, 0, False]
