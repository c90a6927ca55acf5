"""The site builds without a warning, its tutorials run, and everything public is on it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .blocks import ROOT, pages

pytest.importorskip("myst_nb", reason="the docs group is not installed")

TUTORIALS = ("fill_a_dem", "points_to_grid", "clouds", "sst_series", "own_tiles", "new_model")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors; tutorials that neither they nor the package changed are kept."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs")]
    done = subprocess.run([*command, str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return out


@pytest.mark.parametrize("name", TUTORIALS)
def test_a_tutorial_ran_and_shows_a_picture(site: Path, name: str) -> None:
    page = (site / "tutorials" / f"{name}.html").read_text()
    assert page.count("cell_output") >= 2
    assert "image/png" in page or ".png" in page
    for trouble in ("Traceback", "Warning:", "geonp: ", str(ROOT)):
        assert trouble not in page, f"{name} shows {trouble!r}"


def test_the_tutorials_keep_their_promises(site: Path) -> None:
    read = {name: (site / "tutorials" / f"{name}.html").read_text() for name in TUTORIALS}
    assert "within the 90 % interval" in read["fill_a_dem"]
    assert "gives no variance" in read["fill_a_dem"]
    assert "sst_variance" in read["sst_series"]
    assert "smoother" in read["new_model"]


def test_every_command_and_option_is_there(site: Path) -> None:
    import click
    from geonp.cli import main
    from geonp.cli.app import COMMANDS

    page = (site / "commands.html").read_text()
    context = click.Context(main)
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        for option in command.params:
            for word in option.opts if isinstance(option, click.Option) else ():
                mark = f'id="cmdoption-geonp-{name}-{word.lstrip("-")}"'
                assert mark.lower() in page.lower(), f"geonp {name} {word}"


def test_every_public_name_is_there(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    from .test_public_names import PUBLIC

    inventory = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    there = {name for kind in inventory.data for name in inventory.data[kind] if kind.startswith("py:")}
    # The names of the package itself stand with the modules that they come from.
    assert not [path for path in PUBLIC if path.count(".") > 1 and path not in there]


def test_links_lead_somewhere() -> None:
    for page in pages():
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for target in _LINK.findall(text):
            address = urlsplit(target)
            if address.scheme:
                assert address.scheme in ("https", "http", "mailto"), f"{page}: {target}"
                assert address.scheme == "mailto" or "." in address.netloc, f"{page}: {target}"
            elif address.path:
                assert (page.parent / address.path).exists(), f"{page}: {target} is not there"
