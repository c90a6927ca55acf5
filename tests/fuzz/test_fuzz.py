"""A few hundred strange inputs, always the same ones; `python -m tests.fuzz` tries thousands."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from . import files, readers
from .fields import OFTEN, Case, cases, examine
from .mutate import lie_in_tiff, mutate
from .tally import GOOD, Hang, Outcome, Wrong, attempt, limited


@settings(max_examples=40)
@given(case=cases().filter(lambda case: case.method in OFTEN and max(case.rows, case.cols) < 50))
def test_fields(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    outcome, said = attempt(lambda: examine(case, tmp_path_factory.mktemp("field")))
    assert outcome in GOOD, said


def test_models(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    originals = readers.model_files(tmp_path)
    readers.read_model(originals[0], tmp_path)
    for _ in range(150):
        content = readers.damaged_model(originals, rng, tmp_path)
        outcome, said = attempt(lambda content=content: readers.read_model(content, tmp_path))
        assert outcome in GOOD, said


def test_tables(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for table in readers.TABLES:
        readers.read_table_of(table.encode(), tmp_path)
    for _ in range(100):
        content = readers.damaged_table(rng)
        outcome, said = attempt(lambda content=content: readers.read_table_of(content, tmp_path))
        assert outcome in GOOD, said


def test_layers(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for suffix, whole in readers.layers(tmp_path).items():
        readers.read_layer(whole, suffix, tmp_path)
        for _ in range(8):
            content = mutate(whole, rng)
            outcome, said = attempt(lambda c=content, s=suffix: readers.read_layer(c, s, tmp_path))
            assert outcome in GOOD, said


def test_rasters_through_the_command_line(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    originals = files.rasters(tmp_path)
    files.warm()
    path = tmp_path / "survey.tif"
    for index in range(10):
        path.write_bytes(originals[0] if index == 0 else files.damaged_raster(originals, rng))
        outcome, said = files.run(files.command(path, rng), tmp_path)
        assert outcome in GOOD, said
        assert index > 0 or outcome == Outcome.ANSWERED


@pytest.mark.parametrize("target", ["table", "model", "metadata"])
@pytest.mark.skipif(find_spec("atheris") is None, reason="needs atheris (pip install --group fuzz)")
def test_inputs_guided_by_coverage(target: str, tmp_path: Path) -> None:
    done = _guided(target, "--count", "60", "--keep", str(tmp_path))
    assert done.returncode == 0, done.stdout
    assert f"| {target} | 60 | " in done.stdout
    assert not list(tmp_path.glob("*.input"))


@pytest.mark.skipif(find_spec("atheris") is not None, reason="atheris is installed")
def test_without_atheris_nothing_is_tried_and_that_is_said(tmp_path: Path) -> None:
    done = _guided("table", "--keep", str(tmp_path))
    assert done.returncode == 2
    assert "pip install --group fuzz" in done.stdout


def _guided(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.guided", *arguments],
        capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=300,
    )  # fmt: skip


def test_outcomes_are_told_apart() -> None:
    def wrong() -> None:
        raise Wrong("so")

    def slow() -> None:
        while True:
            pass

    assert attempt(lambda: None)[0] == Outcome.ANSWERED
    assert attempt(wrong) == (Outcome.WRONG, "so")
    assert attempt(lambda: [][0])[0] == Outcome.CRASH
    assert attempt(slow, seconds=0.02)[0] == Outcome.HANG
    with pytest.raises(Hang), limited(0.02):
        slow()


def test_accidents_come_from_the_seed_and_change_something() -> None:
    whole = bytes(range(256)) * 4
    once, again = (mutate(whole, np.random.default_rng(3)) for _ in range(2))
    assert once == again != whole
    tiff = b"II*\0\x08\0\0\0\x01\0" + bytes(12) + bytes(4)
    lying = lie_in_tiff(tiff, np.random.default_rng(0))
    assert lying[:10] == tiff[:10]
    assert lying != tiff
