"""Rasters and stores behind an address: read in parts, the same values, one line when they do not answer."""

import socket
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from click.testing import CliRunner
from geonp.cli import main

import geonp
from geonp.errors import InputError, OutputError
from geonp.io import remote
from geonp.io.outputs import check_outputs
from geonp.io.paths import is_address
from tests.io.server import Server, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "www").mkdir()
    with serving(tmp_path / "www") as running:
        yield running


@pytest.fixture
def raster(tmp_path: Path, server: Server) -> np.ndarray:
    """A tiled 1024 x 1024 GeoTIFF in the served folder, 4 MB."""
    values = np.random.default_rng(0).normal(size=(1024, 1024)).astype("f4")
    values[::3] = np.nan
    with rasterio.open(
        tmp_path / "www" / "big.tif", "w", driver="GTiff", dtype="float32", count=1, height=1024, width=1024,
        tiled=True, blockxsize=256, blockysize=256, crs="EPSG:32616", nodata=np.nan,
        transform=rasterio.transform.from_origin(500_000, 4_000_000, 30, 30),
    ) as file:  # fmt: skip
        file.write(values, 1)
    return values


@pytest.mark.parametrize("form", ["{}", "/vsicurl/{}"])
def test_windows_of_a_remote_raster_are_read_in_parts(server: Server, raster: np.ndarray, form: str) -> None:
    field = geonp.open_field(form.format(f"{server.url}/big.tif"))
    assert field.shape == (1, 1024, 1024)
    np.testing.assert_array_equal(field[0, 600:700, 10:60], raster[600:700, 10:60])
    assert 0 < server.sent("/big.tif") < raster.nbytes / 2


def test_a_remote_zarr_store_is_a_field(server: Server, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(40, 30)).astype("f4")
    array = xr.DataArray(
        values, dims=("y", "x"), coords={"y": np.arange(40.0), "x": np.arange(30.0)}, name="depth"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array.to_dataset().to_zarr(tmp_path / "www" / "survey.zarr")
    field = geonp.open_field(f"{server.url}/survey.zarr")
    np.testing.assert_array_equal(field[0], values)


def test_the_command_line_completes_a_remote_raster(
    server: Server, survey: xr.DataArray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from tests.cli.conftest import write

    write(tmp_path / "www" / "survey.tif", survey.values, nodata=float("nan"))
    asked = ["predict", "--method", "nearest", "--mean"]
    with warnings.catch_warnings():
        here = CliRunner().invoke(main, [*asked, "here.tif", "www/survey.tif"])
        there = CliRunner().invoke(main, [*asked, "there.tif", f"{server.url}/survey.tif"])
    assert (here.exit_code, there.exit_code) == (0, 0), there.stderr
    assert Path("here.tif").read_bytes() == Path("there.tif").read_bytes()


@pytest.mark.parametrize("name", ["missing.tif", "missing.zarr", "closed/big.tif", "text.tif"])
def test_what_is_not_there_is_said_in_a_line(server: Server, tmp_path: Path, name: str) -> None:
    (tmp_path / "www" / "text.tif").write_text("no raster")
    with pytest.raises(InputError, match="check the address") as error:
        geonp.open_field(f"{server.url}/{name}")
    assert "\n" not in str(error.value)
    assert name in str(error.value)
    if name in ("missing.tif", "closed/big.tif"):
        assert ("404" if name == "missing.tif" else "403") in str(error.value)


@pytest.mark.parametrize("name", ["big.tif", "survey.zarr"])
def test_a_server_that_refuses_or_never_answers_is_given_up_on(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(remote, "CONNECT", 1)
    monkeypatch.setattr(remote, "SILENT", 1)
    monkeypatch.setattr(remote, "RETRIES", 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for address in (nobody, f"{server.url}/slow"):
            start = time.monotonic()
            with pytest.raises(InputError, match="check the address"):
                geonp.open_field(f"{address}/{name}")
            assert time.monotonic() - start < 15


def test_what_the_user_has_set_for_gdal_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GDAL_HTTP_MAX_RETRY", "7")
    with rasterio.Env(GDAL_HTTP_LOW_SPEED_TIME=77), remote.patiently("https://host/x.tif"):
        options = rasterio.env.getenv()
        assert options["GDAL_HTTP_LOW_SPEED_TIME"] == 77
        assert "GDAL_HTTP_MAX_RETRY" not in options
        assert options["GDAL_HTTP_CONNECTTIMEOUT"] == remote.CONNECT
    with rasterio.Env(), remote.patiently("local.tif"):
        assert "GDAL_HTTP_LOW_SPEED_TIME" not in rasterio.env.getenv()


@pytest.mark.parametrize(
    "address", ["s3://bucket/x.tif", "/vsicurl/http://host/x.tif", "https://host/x.tif", "gs://b/x.zarr"]
)
def test_addresses_are_no_missing_files_and_no_outputs(address: str) -> None:
    assert is_address(address)
    check_outputs(["mean.tif"], inputs=[address])
    with pytest.raises(OutputError, match="local folder"):
        check_outputs([Path(address)])
