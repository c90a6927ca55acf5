"""`geonp predict --resume`: killed, interrupted or out of space, it goes on to the bytes of an uninterrupted run."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from geonp.blend import Layers
from geonp.io.outputs import Writer
from geonp.journal import Journal, place_of
from tests.cli.conftest import Geonp, write

KRIGING = ("--method", "kriging", "--variogram", "exponential:range=500,sill=900", "--tile", 32)
WINDOWS = 16
DIE = """
import os, signal
from geonp import journal
from geonp.io import outputs
from geonp.cli import main
def die(*args):
    os.kill(os.getpid(), signal.SIGKILL)
{patch}
main({args!r})
"""
AFTER_SIX = """
note, left = journal.Journal._note, [6 + 2]
def some(self, entry):
    left[0] -= 1
    note(self, entry) if left[0] >= 0 else die()
journal.Journal._note = some
"""
AT_THE_END = "outputs.Staging.commit = die"


def arguments(survey: Path, folder: Path, form: str) -> list[str]:
    tif = (
        "-o",
        folder / "mean.tif",
        folder / "var.tif",
        "--std",
        folder / "std.tif",
        "--status",
        folder / "s.tif",
    )
    where = tif if form == "tif" else ("--to", folder / f"out.{form}")
    return [str(a) for a in ("predict", survey, *where, *KRIGING)]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def survey(tmp_path: Path, jacksboro: np.ndarray) -> Path:
    """A DEM of 4 x 4 windows, the smallest that kriging has, with one pixel in eight observed."""
    values = jacksboro[100:228, 120:232].astype("i2")
    values[np.random.default_rng(0).random(values.shape) > 0.125] = -32768
    return write(tmp_path / "survey.tif", values, nodata=-32768)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def uninterrupted(tmp_path: Path) -> Path:
    (tmp_path / "uninterrupted").mkdir()
    return tmp_path / "uninterrupted"


def computed(monkeypatch: pytest.MonkeyPatch) -> list[Layers]:
    """Return a list that windows are put into as they are computed and kept."""
    keep, found = Journal._keep, []
    monkeypatch.setattr(Journal, "_keep", lambda self, layers: (found.append(layers), keep(self, layers))[1])
    return found


@contextlib.contextmanager
def stopping(
    monkeypatch: pytest.MonkeyPatch,
    after: int,
    error: BaseException | type[BaseException] = KeyboardInterrupt,
) -> Iterator[None]:
    """Stop runs within it by an error as soon as so many windows are kept and another one would be."""
    keep, left = Journal._keep, [after]

    def stopped(self: Journal, layers: Layers) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise error
        keep(self, layers)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_keep", stopped)
        yield


@pytest.mark.parametrize(("patch", "kept"), [(AFTER_SIX, 6), (AT_THE_END, WINDOWS)])
def test_killed_it_goes_on_to_the_same_bytes(
    geonp: Geonp,
    survey: Path,
    folder: Path,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    patch: str,
    kept: int,
) -> None:
    assert geonp(*arguments(survey, uninterrupted, "tif")).exit_code == 0
    args = [*arguments(survey, folder, "tif"), "--resume"]
    died = subprocess.run(
        [sys.executable, "-c", DIE.format(patch=patch, args=args)], capture_output=True, check=False
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert not list(folder.glob("*.tif"))
    found = computed(monkeypatch)
    result = geonp(*args)
    assert result.exit_code == 0, result.stderr
    assert len(found) == WINDOWS - kept
    assert contents(folder) == contents(uninterrupted)


@pytest.mark.parametrize("form", ["tif", "nc", "zarr"])
@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(143), OSError(28, "No space left on device")]
)
def test_interrupted_it_says_what_to_type_and_goes_on(
    geonp: Geonp,
    survey: Path,
    folder: Path,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
    error: BaseException,
) -> None:
    assert geonp(*arguments(survey, uninterrupted, form), "--resume").exit_code == 0
    args = [*arguments(survey, folder, form), "--resume"]
    with stopping(monkeypatch, 5, error):
        result = geonp(*args)
    assert result.exit_code == {KeyboardInterrupt: 130, SystemExit: 143, OSError: 1}[type(error)]
    assert "5 finished windows are kept" in result.stderr
    assert "type the same command again" in result.stderr
    assert [p.name for p in folder.iterdir()] == [
        place_of(folder / f"{'mean' if form == 'tif' else 'out'}.{form}").name
    ]
    found = computed(monkeypatch)
    assert geonp(*args).exit_code == 0
    assert len(found) == WINDOWS - 5
    assert contents(folder) == contents(uninterrupted)


def test_a_writer_that_fails_leaves_what_was_computed(
    geonp: Geonp, survey: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, left = Writer.write, [4]

    def full(self: Writer, *args: object) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device")
        real(self, *args)

    args = arguments(survey, folder, "tif")
    monkeypatch.setattr(Writer, "write", full)
    result = geonp(*args)
    assert result.exit_code == 1
    assert "No space left" in result.stderr
    assert list(folder.iterdir()) == []
    left[0] = 4
    assert "windows are kept" in geonp(*args, "--resume").stderr
    monkeypatch.undo()
    assert geonp(*args, "--resume").exit_code == 0


def test_with_nothing_finished_nothing_is_left(
    geonp: Geonp, survey: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "begin", interrupted)
    assert geonp(*arguments(survey, folder, "tif"), "--resume").exit_code == 130
    assert list(folder.iterdir()) == []


def test_other_options_or_another_survey_are_refused(
    geonp: Geonp, survey: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = [*arguments(survey, folder, "tif"), "--resume"]
    with stopping(monkeypatch, 3):
        assert geonp(*args).exit_code == 130
    plain = geonp(*arguments(survey, folder, "tif"), "--mean", "x.tif")
    assert plain.exit_code == 2
    for more, told in (
        (("--kind", "universal"), "kind was not given, now it is universal"),
        (("--smooth",), "smooth was not given, now it is True"),
        (("--co", "COMPRESS=LZW"), "creation"),
        (("--tile", 64), "tile was 32, now it is 64"),
    ):
        result = geonp(*args, *more)
        assert result.exit_code == 2, result.stderr
        assert told in result.stderr
        assert "to begin anew" in result.stderr
    before = survey.stat()
    os.utime(survey, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    result = geonp(*args)
    assert result.exit_code == 2
    assert f"file {survey} was" in result.stderr
    os.utime(survey, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = geonp(*args)
    assert result.exit_code == 0, result.stderr
    assert sorted(p.name for p in folder.iterdir()) == ["mean.tif", "s.tif", "std.tif", "var.tif"]


def test_a_run_without_it_says_that_it_does_not_go_on(geonp: Geonp, survey: Path, folder: Path) -> None:
    left = place_of(folder / "mean.tif")
    left.mkdir()
    result = geonp(*arguments(survey, folder, "tif"))
    assert result.exit_code == 0
    assert f"an interrupted run left {left}" in result.stderr
    assert left.exists()


def test_learning_by_the_clock_cannot_be_gone_on_with(geonp: Geonp, survey: Path, folder: Path) -> None:
    result = geonp("predict", survey, "-o", folder / "m.tif", folder / "v.tif", "--adapt", 5, "--resume")
    assert result.exit_code == 2
    assert "never the same twice" in result.stderr
    assert list(folder.iterdir()) == []


def test_feathered_windows_go_on_too(
    geonp: Geonp, survey: Path, folder: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--method", "cubic", "--tile", 32, "--resume", "--style")
    assert geonp("predict", survey, "--mean", uninterrupted / "m.tif", *words).exit_code == 0
    with stopping(monkeypatch, 7):
        assert geonp("predict", survey, "--mean", folder / "m.tif", *words).exit_code == 130
    assert geonp("predict", survey, "--mean", folder / "m.tif", *words).exit_code == 0
    assert contents(folder)["m.tif"] == contents(uninterrupted)["m.tif"]
    assert contents(folder).keys() == contents(uninterrupted).keys()


def test_a_full_raster_and_a_constant_are_kept_as_well(geonp: Geonp, folder: Path, dem: Path) -> None:
    result = geonp("predict", dem, "-o", folder / "m.tif", folder / "v.tif", "--resume")
    assert result.exit_code == 0
    assert sorted(p.name for p in folder.iterdir()) == ["m.tif", "v.tif"]
