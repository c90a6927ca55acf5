"""What a first completion loads: what it needs, and nothing of what other ways to complete need."""

import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

IN_MEMORY = """
import sys
import numpy as np, xarray as xr
import geonp
rng = np.random.default_rng(0)
rows, cols = np.mgrid[:64, :64]
values = np.where(rng.random((64, 64)) < 0.125, np.sin(rows / 9) + np.cos(cols / 7), np.nan).astype("f4")
coords = {"y": 30.0 * np.arange(64)[::-1], "x": 30.0 * np.arange(64)}
survey = xr.DataArray(values, dims=("y", "x"), coords=coords if COORDINATES else None)
before = set(sys.modules)
done = survey.geonp.complete(method="kriging")
assert np.isfinite(done["mean"]).all() and (done["variance"] >= 0).all()
print(*sys.modules, "|", *set(sys.modules) - before)
"""
FROM_A_FILE = """
import sys
from geonp.cli import main
main(sys.argv[1:], standalone_mode=False)
print(*sys.modules)
"""
OF_NETWORKS = {"torch", "lightning_fabric", "lightning", "safetensors"}
OF_FILES = {"odc", "rasterio", "pyproj", "shapely", "affine", "pyogrio", "netCDF4", "zarr"}
OF_OTHERS = {"pykrige", "skimage", "matplotlib"}
LARGE_PARTS = {"scipy.stats", "scipy.optimize", "scipy.interpolate"}


def run(code: str, *args: object) -> str:
    """What a fresh interpreter prints."""
    told = subprocess.run([sys.executable, "-c", code, *map(str, args)], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout


def roots(names: str) -> set[str]:
    return {name.split(".")[0] for name in names.split()}


@pytest.mark.parametrize("coordinates", [True, False])
def test_kriging_in_memory_loads_what_it_needs(coordinates: bool) -> None:
    loaded, new = run(IN_MEMORY.replace("COORDINATES", str(coordinates))).split("|")
    assert roots(loaded) & (OF_NETWORKS | OF_FILES | OF_OTHERS) == set()
    assert set(loaded.split()) & LARGE_PARTS == set()
    assert "dask" not in roots(new)  # what xarray loads of it for an array of its own is not ours to say


def test_kriging_a_file_loads_no_network(tmp_path: Path, survey: xr.DataArray) -> None:
    survey.odc.write_cog(tmp_path / "small.tif")
    given = ("predict", tmp_path / "small.tif", "--method", "kriging")
    loaded = run(FROM_A_FILE, *given, "-o", tmp_path / "mean.tif", tmp_path / "var.tif")
    assert "rasterio" in roots(loaded)
    assert roots(loaded) & (OF_NETWORKS | OF_OTHERS) == set()


def test_kriging_with_covariates_and_errors_loads_no_network(tmp_path: Path, survey: xr.DataArray) -> None:
    survey.odc.write_cog(tmp_path / "small.tif")
    survey.fillna(float(survey.mean())).odc.write_cog(tmp_path / "beside.tif")
    given = ("predict", tmp_path / "small.tif", "--method", "kriging", "--error", "0.1")
    beside = ("--covariate", tmp_path / "beside.tif", "--covariate-policy", "always")
    loaded = run(FROM_A_FILE, *given, *beside, "-o", tmp_path / "mean.tif", tmp_path / "var.tif")
    assert roots(loaded) & OF_NETWORKS == set()
