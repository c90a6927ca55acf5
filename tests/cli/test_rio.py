"""`rio geonp`: the plugin is found, runs the same commands, and within rio's environment."""

import json
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import click
import numpy as np
import pytest
import rasterio
from click.testing import CliRunner
from geonp.cli import main
from geonp.cli.app import COMMANDS
from rasterio.rio.main import main_group

ROOT = Path(__file__).parents[2]
RIO = Path(sys.executable).parent / "rio"


@pytest.fixture(autouse=True)
def _own_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        yield


def test_the_entry_point_names_a_group_with_every_command() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    point = EntryPoint("geonp", stated["rasterio.rio_plugins"]["geonp"], "rasterio.rio_plugins")
    group = point.load()
    assert isinstance(group, click.Group)
    assert group.name == "geonp"
    assert group.list_commands(click.Context(group)) == list(COMMANDS)


def test_rio_lists_it_and_runs_it(dem: Path) -> None:
    """As it is typed, in a process of its own."""
    shown = subprocess.run([RIO, "--help"], capture_output=True, text=True, check=True).stdout
    assert "geonp" in shown
    assert "Warning: entry point could not be loaded" not in shown
    done = subprocess.run([RIO, "geonp", "info", str(dem), "--json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["crs"].startswith("EPSG:32616")


def test_predict_completes_as_under_geonp(dem: Path, holey: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours.tif", tmp_path / "theirs.tif"
    more = ["--method", "nearest", "-q"]
    for command, group, out in ((["predict"], main, ours), (["geonp", "predict"], main_group, theirs)):
        done = CliRunner().invoke(group, [*command, str(holey), "--mean", str(out), *more])
        assert done.exit_code == 0, done.stderr
    with rasterio.open(ours) as a, rasterio.open(theirs) as b, rasterio.open(dem) as c:
        np.testing.assert_array_equal(a.read(1), b.read(1))
        assert (a.shape, a.crs) == (c.shape, c.crs)


def test_info_and_evaluate_answer_as_under_geonp(dem: Path) -> None:
    run = CliRunner().invoke
    info = run(main_group, ["geonp", "info", str(dem), "--json"])
    assert json.loads(info.stdout)["rows"] == 64
    table = run(main_group, ["geonp", "evaluate", str(dem), "--methods", "nearest,linear", "-q"])
    assert table.exit_code == 0, table.stderr
    assert "| linear |" in table.stdout


def test_mistakes_are_one_line_and_an_exit_code(tmp_path: Path) -> None:
    missing = CliRunner().invoke(main_group, ["geonp", "info", str(tmp_path / "no.tif")])
    assert missing.exit_code == 1
    assert missing.stderr.startswith("geonp: ")
    assert len(missing.stderr.splitlines()) == 1
    unknown = CliRunner().invoke(main_group, ["geonp", "predikt"])
    assert unknown.exit_code == 2
    assert "predict" in unknown.stderr


def test_commands_run_in_the_environment_of_rio(dem: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With -vvv GDAL tells what it does while the raster is read."""
    import rasterio.env
    from geonp.cli import options

    seen: list[dict[str, object]] = []
    plain = options.Reading.open

    def spy(self: options.Reading, path: str) -> object:
        seen.append(rasterio.env.getenv())
        return plain(self, path)

    monkeypatch.setattr(options.Reading, "open", spy)
    result = CliRunner().invoke(main_group, ["-vvv", "geonp", "info", str(dem)])
    assert result.exit_code == 0, result.output
    assert seen[0]["CPL_DEBUG"] is True
