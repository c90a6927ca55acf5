"""`geonp benchmark` as typed, on a few made images in MNIST's format."""

import gzip
import json
import struct
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from geonp.benchmarks import table1
from geonp.benchmarks.plan import Budget, Plan
from geonp.benchmarks.systems import System
from tests.benchmarks.conftest import blobs
from tests.cli.conftest import Geonp

TINY = Plan(channels=8, steps=2, batch=2, learning_rate=1e-3, seeds=1, tested=2, validated=2, every=1)


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with twelve digits, and a table1 of two networks and two steps."""
    folder = tmp_path / "data" / "mnist"
    folder.mkdir(parents=True)
    images = blobs(12, 1, 0, side=28)[:, 0]
    content = gzip.compress(struct.pack(">IIII", 2051, *images.shape) + images.tobytes())
    for name in ("train", "t10k"):
        (folder / f"{name}-images-idx3-ubyte.gz").write_bytes(content)
    monkeypatch.setenv("GEONP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("GEONP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(table1, "PLANS", MappingProxyType({Budget.CPU: TINY, Budget.FULL: TINY}))
    monkeypatch.setattr(table1, "CLASSICAL", ("nearest",))
    monkeypatch.setattr(table1, "SYSTEMS", tuple(System(label, "ifnp") for label in table1.ORDER))
    return folder


def test_a_table_from_data_to_files(geonp: Geonp, digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = geonp("benchmark", "table1", "--output", out, "--device", "cpu", "--json")
    assert done.exit_code == 0, done.stderr
    content = json.loads(done.stdout)
    assert content == json.loads((out / "table1.json").read_text())
    assert content["budget"] == "cpu"
    page = (out / "table1.md").read_text()
    assert "| IFANP (SENet) |" in page
    for name in ("completions", "samples"):
        assert (out / f"table1_mnist_{name}.png").stat().st_size > 5000
        assert f"table1_mnist_{name}.png" in page
    assert "mnist IFNP 0: step 2" in done.stderr

    refused = geonp("benchmark", "table1", "--output", out)
    assert refused.exit_code == 1
    assert "--resume" in refused.stderr
    more = geonp("benchmark", "table1", "--output", out, "--resume", "--seeds", 2, "-q")
    assert more.exit_code == 0
    assert more.stderr == ""
    assert "seeds: 0, 1" in more.stdout
    other = geonp("benchmark", "table1", "--output", out, "--resume", "--budget", "full")
    assert other.exit_code == 2
    assert "holds runs with budget cpu" in other.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["table2"], 2, "table1"),
        (["table1", "--budget", "gpu"], 2, "cpu"),
        (["table1", "--seeds", "0"], 2, "--seeds"),
        (["table1", "--data", "cifar"], 2, "no set of images"),
        (["heaton"], 1, "geonp datasets fetch heaton"),
        (["terrain"], 1, "none of them is on this machine"),
    ],
)
def test_mistakes_are_answered(
    geonp: Geonp, digits: Path, tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    result = geonp("benchmark", *words, "--output", tmp_path / "out")
    assert result.exit_code == code
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_interruption_says_how_to_go_on(
    geonp: Geonp, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(table1, "_table", stop)
        result = geonp("benchmark", "table1", "--output", tmp_path / "out")
    assert result.exit_code == 130
    assert f"geonp benchmark table1 --output {tmp_path / 'out'} --resume" in result.stderr
    assert not (tmp_path / "out" / "table1.md").exists()
    done = geonp("benchmark", "table1", "--output", tmp_path / "out", "--resume")
    assert done.exit_code == 0
    assert "step" not in done.stderr  # every training was finished
    assert np.all([name in done.stdout for name in table1.ORDER])
