"""The map of modules in CONTRIBUTING.md names every one."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_module_and_package_is_on_the_map_once() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page, re.MULTILINE)
    named = Counter(name for row in rows for name in re.findall(r"`(\w+)`", row))
    there = {p.stem for p in (ROOT / "geonp").glob("*.py")} | {
        p.parent.name for p in (ROOT / "geonp").glob("*/__init__.py")
    }
    assert named == Counter(name for name in there if not name.startswith("_"))
