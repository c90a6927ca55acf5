"""`geonp demo`, as short as it can be: every step runs, and the pictures are there."""

from pathlib import Path

import matplotlib.image

from .conftest import Geonp


def test_the_whole_story(geonp: Geonp, tmp_path: Path) -> None:
    told = geonp("demo", "--output", tmp_path / "demo", "--seconds", 1)
    assert told.exit_code == 0, told.output
    assert "$ geonp predict" in told.stdout
    table = [line for line in told.stdout.splitlines() if line.startswith("| ")]
    assert {"bundled", "kriging", "cubic", "neural"} <= {line.split()[1] for line in table}
    for name in ("bundled.png", "ifanp.png", "methods.png"):
        picture = matplotlib.image.imread(tmp_path / "demo" / name)
        assert picture.std() > 0.05, "a picture with something on it"
    again = geonp("demo", "--output", tmp_path / "demo", "--seconds", 1)
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
