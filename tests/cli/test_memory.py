"""`--memory`: one budget for every method."""

from pathlib import Path

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
