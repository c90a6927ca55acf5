"""What is installed is what lies in the folders: packages, the wheel, the command, the version."""

import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import geonp

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
HOMES = {"geonp": "geonp", "cli": "geonp/cli", "datasets": "geonp/datasets"}


def modules() -> set[str]:
    """Every module in the three folders, by its path in a wheel."""
    found = set()
    for folder, home in HOMES.items():
        for path in (ROOT / folder).rglob("*.py"):
            found.add(f"{home}/{path.relative_to(ROOT / folder).as_posix()}")
    return found


def test_every_package_is_listed() -> None:
    packages = {str(Path(m).parent).replace("/", ".") for m in modules()}
    assert packages == set(PROJECT["tool"]["setuptools"]["packages"])


def test_version_is_stated_once_more_only_where_it_must() -> None:
    version = PROJECT["project"]["version"]
    assert geonp.__version__ == version
    assert f"version: {version}" in (ROOT / "CITATION.cff").read_text()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_wheel_holds_every_module_and_nothing_else(tmp_path: Path) -> None:
    if not (ROOT / "pyproject.toml").exists():
        pytest.skip("not run from a checkout")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # what an earlier build left would be packed again
    subprocess.run(build, check=True, capture_output=True)
    shutil.rmtree(ROOT / "build", ignore_errors=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {n for n in names if n.endswith(".py")} == modules()
    assert "geonp/py.typed" in names
    assert any(n.endswith("entry_points.txt") for n in names)


def test_help_answers_at_once() -> None:
    import time

    command = [str(Path(sys.executable).parent / "geonp"), "--help"]
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    assert min(taken) < 0.5, taken


def test_every_floor_carries_its_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    for line in lines[start + 1 : lines.index("]", start)]:
        assert "#" in line, line
