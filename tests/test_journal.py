"""A run that was cut off anywhere goes on: nothing is computed twice, nothing torn is believed, no bit differs."""

import json
import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geonp.blend import Layers
from geonp.errors import OutputError, UsageError
from geonp.journal import Journal, place_of
from geonp.predict import Completion, begin
from tests.test_predict import LocalMean, holey

ASKED = {"method": "local-mean", "file survey.tif": "12 bytes"}
WINDOWS = 12


def run(overlap: int = 0, variance: bool = True) -> Completion:
    return begin(holey((2, 40, 30)), LocalMean(overlap=overlap), variance=variance, tile=10)


def raster(layers: list[Layers]) -> bytes:
    parts = [
        [p.mean.tobytes(), p.status.tobytes(), b"" if p.variance is None else p.variance.tobytes()]
        for p in layers
    ]
    return b"".join(part for three in parts for part in three)


def computed(ready: Completion) -> int:
    return len(ready.method.seen)


@pytest.mark.parametrize("overlap", [0, 3])
@pytest.mark.parametrize("stop", [1, 5, 11])
def test_goes_on_where_it_was_cut_off_with_the_same_bytes(tmp_path: Path, overlap: int, stop: int) -> None:
    whole = raster(list(run(overlap)))
    first = run(overlap)
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        journal.begin(first)
        windows = journal.completed(first)
        for _ in range(stop):
            next(windows)
        windows.close()
    again = run(overlap)
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        assert journal.finished == stop
        assert journal.tile == 10
        journal.begin(again)
        assert raster(list(again.assemble(journal.completed(again)))) == whole
    assert computed(again) == WINDOWS - stop
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_variance_is_kept_too(tmp_path: Path) -> None:
    for _ in range(2):
        ready = run(variance=False)
        with Journal([tmp_path / "mean.tif"], ASKED) as journal:
            journal.begin(ready)
            done = raster(list(ready.assemble(journal.completed(ready))))
        assert done == raster(list(run(variance=False)))
    assert computed(ready) == 0


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A journal of a run that was killed with all windows kept, and the raster."""
    folder = tmp_path_factory.mktemp("journal")
    ready = run()
    with Journal([folder / "mean.tif"], ASKED) as journal:
        journal.begin(ready)
        done = raster(list(ready.assemble(journal.completed(ready))))
    return folder, done


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.floats(0, 1), windows=st.floats(0, 1), flip=st.floats(0, 0.999), flipped=st.booleans())
def test_what_a_loss_of_power_tore_is_not_believed(
    tmp_path: Path, finished: tuple[Path, bytes], lines: float, windows: float, flip: float, flipped: bool
) -> None:
    folder, whole = finished
    here = tmp_path / "run"
    shutil.rmtree(here, ignore_errors=True)
    shutil.copytree(folder, here)
    kept = place_of(here / "mean.tif")
    for name, share in (("journal.jsonl", lines), ("windows", windows)):
        data = bytearray((kept / name).read_bytes())[: round(share * (kept / name).stat().st_size)]
        if flipped and name == "windows" and data:
            data[int(flip * len(data))] ^= 16
        (kept / name).write_bytes(data)
    ready = run()
    with Journal([here / "mean.tif"], ASKED) as journal:
        journal.begin(ready)
        assert raster(list(ready.assemble(journal.completed(ready)))) == whole


def test_another_run_is_refused_and_what_differs_is_named(
    tmp_path: Path, finished: tuple[Path, bytes]
) -> None:
    shutil.copytree(finished[0], tmp_path, dirs_exist_ok=True)
    with pytest.raises(
        UsageError, match=r"file survey.tif was 12 bytes, now it is 13 bytes.*remove .* to begin anew"
    ):
        Journal([tmp_path / "mean.tif"], ASKED | {"file survey.tif": "13 bytes"})
    with pytest.raises(UsageError, match="smooth was not given, now it is True"):
        Journal([tmp_path / "mean.tif"], ASKED | {"smooth": "True"})
    other = begin(holey((2, 40, 30)), LocalMean(), tile=20)
    with (
        Journal([tmp_path / "mean.tif"], ASKED) as journal,
        pytest.raises(UsageError, match="tile was 10, now it is 20"),
    ):
        journal.begin(other)
    changed = begin(holey((2, 40, 30), seed=1), LocalMean(), tile=10)
    with (
        Journal([tmp_path / "mean.tif"], ASKED) as journal,
        pytest.raises(UsageError, match="mean of the observations"),
    ):
        journal.begin(changed)


def test_two_runs_on_one_output_are_kept_apart(tmp_path: Path) -> None:
    with Journal([tmp_path / "mean.tif"], ASKED), pytest.raises(OutputError, match="another run is writing"):
        Journal([tmp_path / "mean.tif"], ASKED)


def test_remains_of_a_killed_run_go_and_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / ".geonp-abc"
    remains, other = tmp_path / ".geonp-xyz", tmp_path / "important"
    for folder in (elsewhere, remains, other):
        folder.mkdir(parents=True)
    (tmp_path / ".geonp-link").symlink_to(other)
    ready = run()
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        journal.begin(ready)
        journal.staged([elsewhere, remains, other, tmp_path / ".geonp-link"])
    with Journal([tmp_path / "mean.tif"], ASKED):
        assert not remains.exists()
        assert elsewhere.exists()
        assert other.exists()
        assert (tmp_path / ".geonp-link").is_symlink()


def test_a_folder_that_is_no_journal_is_left_alone(tmp_path: Path) -> None:
    folder = place_of(tmp_path / "mean.tif")
    folder.mkdir()
    (folder / "diary").write_text("dear")
    with pytest.raises(OutputError, match="is none; move it"):
        Journal([tmp_path / "mean.tif"], ASKED)
    assert (folder / "diary").read_text() == "dear"


def test_a_disk_without_room_is_told_before_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10, 9, 1))
    with (
        Journal([tmp_path / "mean.tif"], ASKED) as journal,
        pytest.raises(OutputError, match="leave --resume out"),
    ):
        journal.begin(run())


def test_a_disk_that_fills_up_keeps_what_was_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, first, left = raster(list(run())), run(), [9]

    def full(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")

    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        journal.begin(first)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match=r"No space left on device.*type the same command again"):
            list(journal.completed(first))
    monkeypatch.undo()
    again = run()
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        assert journal.finished >= 4
        journal.begin(again)
        assert raster(list(again.assemble(journal.completed(again)))) == whole


def test_a_line_is_written_when_its_window_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, real = [], os.fsync

    def sync(handle: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{handle}") if os.path.exists("/proc/self/fd") else "")
        real(handle)

    ready = run()
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        journal.begin(ready)
        monkeypatch.setattr(os, "fsync", sync)
        for _ in journal.completed(ready):
            lines = (journal.folder / "journal.jsonl").read_bytes().splitlines()
            entry = json.loads(lines[-1])
            assert (journal.folder / "windows").stat().st_size == entry["start"] + entry["size"]
    names = [Path(name).name for name in synced]
    assert names == ["windows", "journal.jsonl"] * WINDOWS


def test_windows_are_kept_as_they_were_computed(tmp_path: Path) -> None:
    ready = run()
    with Journal([tmp_path / "mean.tif"], ASKED) as journal:
        journal.begin(ready)
        fresh = list(journal.completed(ready))
        kept = list(journal.completed(ready))
    for a, b in zip(fresh, kept, strict=True):
        assert a.window == b.window
        for name in ("mean", "variance", "status"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
