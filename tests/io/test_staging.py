"""Finished outputs are moved into place together, whatever comes between."""

import gc
import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from geonp.errors import OutputError
from geonp.field import Window
from geonp.io import open_field
from geonp.io.geotiff import RasterWriter
from geonp.io.outputs import Staging
from tests.io.written import write_all


class TestCommit:
    def test_stale_companions_of_a_replaced_raster_go(self, tmp_path, field, layers):
        for name in ("m.tif.aux.xml", "m.tif.ovr", "m.tif.msk", "m.tif.keep"):
            (tmp_path / name).write_text("stale")
        write_all(RasterWriter({"mean": tmp_path / "m.tif"}, field), layers)
        assert sorted(os.listdir(tmp_path)) == ["m.tif", "m.tif.keep"]

    def test_what_cannot_be_moved_is_put_back(self, tmp_path, monkeypatch):
        for name in "ab":
            (tmp_path / name).write_text(f"old {name}")
        real = os.rename

        def rename(source, destination):
            if destination == tmp_path / "b" and source.parent.name != ".replaced":
                raise OSError("no")
            real(source, destination)

        staging = Staging([tmp_path / "a", tmp_path / "b"], overwrite=True)
        for name in "ab":
            staging.temporary(tmp_path / name).write_text("new")
        monkeypatch.setattr("geonp.io.outputs.os.rename", rename)
        with pytest.raises(OutputError, match="cannot be moved into place"):
            staging.commit()
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]
        assert (tmp_path / "a").read_text() == "old a"
        assert (tmp_path / "b").read_text() == "old b"

    def test_what_cannot_even_be_put_back_is_kept(self, tmp_path, monkeypatch):
        (tmp_path / "a").write_text("old")
        real = os.rename

        def rename(source, destination):
            if destination == tmp_path / "a":
                raise OSError("no")
            real(source, destination)

        with Staging([tmp_path / "a"], overwrite=True) as staging:
            staging.temporary(tmp_path / "a").write_text("new")
            monkeypatch.setattr("geonp.io.outputs.os.rename", rename)
            with pytest.raises(OutputError, match="kept as") as caught:
                staging.commit()
        kept = str(caught.value).split("kept as ")[1]
        with open(kept) as file:
            assert file.read() == "old"

    def test_what_appeared_meanwhile_is_not_replaced(self, tmp_path, field, layers):
        with RasterWriter({"mean": tmp_path / "m.tif"}, field) as writer:
            writer.write(Window(0, 0, 70, 90), layers)
            (tmp_path / "m.tif").write_text("mine")
            with pytest.raises(OutputError, match="appeared"):
                writer.commit()
        assert (tmp_path / "m.tif").read_text() == "mine"
        assert os.listdir(tmp_path) == ["m.tif"]

    def test_outputs_in_several_folders(self, tmp_path, field, layers):
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        paths = {"mean": tmp_path / "one" / "a.tif", "variance": tmp_path / "two" / "a.tif"}
        write_all(RasterWriter(paths, field), layers)
        for name, path in paths.items():
            np.testing.assert_array_equal(open_field(path).values, layers[name])
            assert os.listdir(path.parent) == ["a.tif"]

    def test_a_link_is_written_through(self, tmp_path, field, layers):
        (tmp_path / "real").mkdir()
        (tmp_path / "link.tif").symlink_to(tmp_path / "real" / "m.tif")
        write_all(RasterWriter({"mean": tmp_path / "link.tif"}, field), layers)
        assert (tmp_path / "link.tif").is_symlink()
        assert (tmp_path / "real" / "m.tif").is_file()

    def test_permissions_are_those_of_any_new_file(self, tmp_path, field, layers):
        (tmp_path / "plain").touch()
        write_all(RasterWriter({"mean": tmp_path / "m.tif"}, field), layers)
        assert (tmp_path / "m.tif").stat().st_mode == (tmp_path / "plain").stat().st_mode


class TestMovingIntoPlace:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_signal_waits_until_all_is_in_place(self, tmp_path, monkeypatch, number):
        targets = [tmp_path / "mean.tif", tmp_path / "var.tif"]
        for target in targets:
            target.write_text("old")
        rename, came = os.rename, []
        monkeypatch.setattr(os, "rename", lambda *a: (rename(*a), signal.raise_signal(number)))
        before = signal.signal(number, lambda *_: came.append([t.read_text() for t in targets]))
        try:
            with Staging(targets, overwrite=True) as staging:
                for target in targets:
                    staging.temporary(target).write_text("new")
                staging.commit()
        finally:
            handler = signal.signal(number, before)
        assert came == [["new", "new"]]
        assert callable(handler)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mean.tif", "var.tif"]

    def test_runs_that_end_together_do_not_mix(self, tmp_path, monkeypatch):
        targets = [tmp_path / "mean.tif", tmp_path / "var.tif"]
        rename = os.rename
        monkeypatch.setattr(os, "rename", lambda *a: (time.sleep(0.005), rename(*a)))
        met = threading.Barrier(4)

        def run(name: str) -> None:
            with Staging(targets, overwrite=True) as staging:
                for target in targets:
                    staging.temporary(target).write_text(name)
                met.wait()
                staging.commit()

        runs = [threading.Thread(target=run, args=(name,)) for name in "abcd"]
        for one in runs:
            one.start()
        for one in runs:
            one.join()
        assert targets[0].read_text() == targets[1].read_text() in "abcd"
        assert sorted(p.name for p in tmp_path.iterdir()) == ["mean.tif", "var.tif"]


def test_an_interruption_before_the_context_is_entered_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        Staging([tmp_path / "mean.tif", tmp_path / "var.tif"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    gc.collect()
    assert list(tmp_path.iterdir()) == []
