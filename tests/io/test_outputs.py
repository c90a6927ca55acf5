"""Outputs are checked before any work, and appear whole or not at all."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from geonp.errors import OutputError, UsageError
from geonp.field import Window
from geonp.io import open_field
from geonp.io.container import ContainerWriter
from geonp.io.geotiff import RasterWriter
from geonp.io.outputs import check_outputs
from tests.io.written import WRITERS, write_all


@pytest.mark.parametrize("kind", WRITERS)
class TestAllOrNothing:
    @pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
    def test_a_failure_leaves_nothing(self, tmp_path, field, layers, kind, error):
        writer = WRITERS[kind](tmp_path, field)
        with pytest.raises(error), writer:  # noqa: PT012
            writer.write(Window(0, 0, 70, 90), layers)
            raise error
        assert os.listdir(tmp_path) == []

    def test_leaving_without_commit_leaves_nothing(self, tmp_path, field, layers, kind):
        with WRITERS[kind](tmp_path, field) as writer:
            writer.write(Window(0, 0, 70, 90), layers)
            assert all(name.startswith(".geonp-") for name in os.listdir(tmp_path))
        assert os.listdir(tmp_path) == []

    def test_a_failure_keeps_what_was_there(self, tmp_path, field, layers, kind):
        write_all(WRITERS[kind](tmp_path, field), layers)
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(ZeroDivisionError), WRITERS[kind](tmp_path, field, overwrite=True):
            raise ZeroDivisionError
        assert sorted(os.listdir(tmp_path)) == before
        path = tmp_path / before[0]
        options = {} if path.suffix == ".tif" else {"variable": "mean"}
        np.testing.assert_array_equal(open_field(path, **options).values, layers["mean"])

    def test_replacing(self, tmp_path, field, layers, kind):
        write_all(WRITERS[kind](tmp_path, field), {k: np.zeros_like(v) for k, v in layers.items()})
        with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
            WRITERS[kind](tmp_path, field)
        before = sorted(os.listdir(tmp_path))
        write_all(WRITERS[kind](tmp_path, field, overwrite=True), layers)
        assert sorted(os.listdir(tmp_path)) == before
        path = tmp_path / before[0]
        options = {} if path.suffix == ".tif" else {"variable": "mean"}
        np.testing.assert_array_equal(open_field(path, **options).values, layers["mean"])

    def test_wrong_windows_are_refused(self, tmp_path, field, layers, kind):
        with WRITERS[kind](tmp_path, field) as writer:
            with pytest.raises(UsageError, match="outside a raster of 70 x 90"):
                writer.write(Window(60, 0, 20, 90), layers)
            with pytest.raises(UsageError, match="mean is"):
                writer.write(Window(0, 0, 5, 5), layers)
            with pytest.raises(UsageError, match="has no mean"):
                writer.write(Window(0, 0, 70, 90), {"other": layers["mean"]})

    @pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
    def test_a_full_disk(self, tmp_path, kind):
        """A limit on file sizes stands in for a full disk: the kernel refuses the same writes."""
        script = f"""
            import resource, signal, numpy as np
            from pathlib import Path
            from odc.geo.geobox import GeoBox
            from geonp.errors import OutputError
            from geonp.field import windows
            from tests.io.grids import NORTH_UP
            from tests.io.written import WRITERS, field_on
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
            box = GeoBox((600, 600), NORTH_UP, "EPSG:32616")
            noise = np.random.default_rng(0).random((1, 600, 600), np.float32)
            try:
                with WRITERS["{kind}"](Path("{tmp_path}"), field_on(box)) as writer:
                    for w in windows(box.shape, 100):
                        part = noise[:, w.row:w.stop[0], w.col:w.stop[1]]
                        writer.write(w, {{"mean": part, "variance": part}})
                    writer.commit()
            except OutputError as error:
                assert "disk" in str(error) and "\\n" not in str(error), error
                print("refused")
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
        )
        assert done.stdout == "refused\n", done.stderr
        assert "Traceback" not in done.stderr
        assert os.listdir(tmp_path) == []


class TestChecks:
    def test_what_can_be_written_passes(self, tmp_path):
        check_outputs(
            [tmp_path / "a.tif", tmp_path / "b.tif"], inputs=["/vsicurl/http://x/a.tif", tmp_path / "c"]
        )
        assert os.listdir(tmp_path) == []

    def test_existing_outputs(self, tmp_path):
        (tmp_path / "a.tif").touch()
        with pytest.raises(OutputError, match="exists already"):
            check_outputs([tmp_path / "a.tif"])
        check_outputs([tmp_path / "a.tif"], overwrite=True)

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(OutputError, match=r"no folder.*mkdir"):
            check_outputs([tmp_path / "none" / "a.tif"])

    def test_a_folder_that_cannot_be_written_to(self, tmp_path, monkeypatch):
        monkeypatch.setattr("os.access", lambda *_: False)
        with pytest.raises(OutputError, match="cannot be written to"):
            check_outputs([tmp_path / "a.tif"])

    def test_the_same_path_twice(self, tmp_path):
        with pytest.raises(UsageError, match="twice"):
            check_outputs([tmp_path / "a.tif", tmp_path / "." / "a.tif"])

    def test_an_input(self, tmp_path):
        (tmp_path / "a.tif").touch()
        with pytest.raises(UsageError, match="is an input too"):
            check_outputs([tmp_path / "a.tif"], inputs=[tmp_path / "a.tif"], overwrite=True)

    def test_an_unknown_format(self, tmp_path, field):
        with pytest.raises(UsageError, match=r"'\.jpg' cannot be written; use \.tif or \.tiff"):
            RasterWriter({"mean": tmp_path / "a.jpg"}, field)
        with pytest.raises(UsageError, match=r"'\.tif' cannot be written"):
            ContainerWriter(tmp_path / "a.tif", field)

    def test_unknown_layers(self, tmp_path, field):
        with pytest.raises(UsageError, match="got median"):
            RasterWriter({"median": tmp_path / "a.tif"}, field)
        with pytest.raises(UsageError, match="got none"):
            ContainerWriter(tmp_path / "a.nc", field, [])

    def test_folders_are_not_replaced(self, tmp_path):
        for name in ("a.tif", "a.zarr"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "precious").touch()
            with pytest.raises(OutputError, match="no Zarr store"):
                check_outputs([tmp_path / name], overwrite=True)

    def test_a_remote_address(self):
        with pytest.raises(OutputError, match="local folder"):
            check_outputs(["s3://bucket/a.tif"])
