"""`--memory`: one budget for every method; and no more threads than cores."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from geonp.cli.memory import machine
from threadpoolctl import threadpool_limits

from geonp.kriging.threads import available
from tests.cli.conftest import Geonp


def test_memory_is_for_every_method_and_does_not_choose_one(
    geonp: Geonp, holey: Path, tmp_path: Path
) -> None:
    result = geonp("predict", holey, "--method", "cubic", "--mean", tmp_path / "m.tif", "--memory", "64G")
    assert result.exit_code == 0, result.stderr
    assert "cubic takes about" in result.stderr
    result = geonp("predict", holey, "--method", "cubic", "--mean", tmp_path / "n.tif", "--memory", "300M")
    assert result.exit_code == 2
    assert "--memory allows 315 MB; allow more (--memory" in result.stderr
    assert not (tmp_path / "n.tif").exists()


@pytest.fixture
def three_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("geonp.machine.cores", lambda: 2)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    with threadpool_limits(3, "blas"):
        yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_libraries_take_no_more_threads_than_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    with click.Context(click.Command("predict")):
        assert available() == 3
        with machine():
            assert (available(), torch.get_num_threads()) == (2, 2)
        torch.set_num_threads(3)
        assert available() == 3
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        with machine():
            assert (available(), torch.get_num_threads()) == (3, 3)
