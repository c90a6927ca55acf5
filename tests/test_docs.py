"""The documentation builds without a warning, and its tutorials run."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_site_builds_and_runs_its_tutorials(tmp_path: Path) -> None:
    pytest.importorskip("myst_nb", reason="the docs group is not installed")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(ROOT / "docs")]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    page = (tmp_path / "tutorials" / "fill_a_dem.html").read_text()
    assert "within the 90 % interval" in page
    assert "gives no variance" in page
