"""Files that cannot be read are told in one line."""

import pickle

import pytest
import xarray as xr

from geonp.errors import InputError, UsageError
from geonp.io import open_field
from geonp.io.raster import open_raster
from tests.io.rasters import ramp, save


class TestBadFiles:
    def fails(self, path, match, **options):
        with pytest.raises(InputError, match=match) as caught:
            open_field(path, **options).load()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_missing(self, tmp_path):
        self.fails(tmp_path / "none.tif", "no such file")

    def test_a_folder(self, tmp_path):
        self.fails(tmp_path, "is a folder")

    def test_empty(self, tmp_path):
        (tmp_path / "a.tif").write_bytes(b"")
        self.fails(tmp_path / "a.tif", "empty")

    def test_something_else(self, tmp_path):
        (tmp_path / "a.tif").write_text("not a raster at all")
        self.fails(tmp_path / "a.tif", "no raster that GDAL can read")

    def test_unreadable(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.tif", ramp(1, 2, 2))
        monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
        self.fails(path, "permission")

    def test_truncated_pixels(self, scene, capfd):
        path, _ = scene
        path.write_bytes(path.read_bytes()[:20_000])
        field = open_field(path)  # the header is whole
        with pytest.raises(InputError, match="truncated or damaged") as caught:
            field.load()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
        assert capfd.readouterr().err == ""

    def test_gone_meanwhile(self, scene):
        path, _ = scene
        field = pickle.loads(pickle.dumps(open_field(path)))
        path.unlink()
        with pytest.raises(InputError, match=r"scene\.tif"):
            field.load()

    def test_a_container_names_its_parts(self, tmp_path):
        a = xr.DataArray(ramp(1, 4, 4)[0], dims=("y", "x"))
        xr.Dataset({"one": a, "two": a}).to_netcdf(tmp_path / "both.nc")
        with pytest.raises(InputError, match="one of these"):
            open_raster(tmp_path / "both.nc")

    def test_options_of_other_kinds(self, scene):
        with pytest.raises(UsageError, match="for NetCDF and Zarr"):
            open_field(scene[0], variable="z")
        with pytest.raises(UsageError, match="are for points"):
            open_field(scene[0], res=10)
