"""Every architecture from the command line: trained for two steps, written, read, and put to work."""

import json
from pathlib import Path

import numpy as np
import pytest

from geonp.models import names, resolve

from .conftest import Geonp, write

SMALL = {
    "convcnp": ["head_layers=1", "head_width=8", "depth=1", "kernel=3"],
    "convnp": ["head_layers=1", "head_width=8", "depth=1", "kernel=3", "latent=4"],
}
QUICK = ["--context", "0.3", "--tile-size", 16, "--batch", 2, "--steps-per-epoch", 2, "--epochs", 1]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory, jacksboro: np.ndarray) -> Path:
    return write(tmp_path_factory.mktemp("tiles") / "dem.tif", jacksboro[:96, :96], nodata=np.nan)


@pytest.mark.parametrize("name", [name for name in names() if name != "kriged-ifanp"])
def test_every_model_by_name(name: str, geonp: Geonp, tiles: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    sizes = [part for setting in ["channels=8", *SMALL.get(name, [])] for part in ("--set", setting)]
    result = geonp("fit", tiles, *QUICK, "--model", name, *sizes, "-o", model, "--no-compare", "-q")
    assert result.exit_code == 0, result.stderr
    shown = json.loads(geonp("info", model, "--json").stdout)
    assert shown["architecture"] == resolve(name).architecture
    assert shown["steps"] == 2


def test_encoder_and_attention_by_name_and_back_from_the_file(
    geonp: Geonp, tiles: Path, holey: Path, tmp_path: Path
) -> None:
    model, mean = tmp_path / "model.safetensors", tmp_path / "mean.tif"
    sizes = ["--set", "channels=8", "--set", "head_layers=1", "--set", "depth=2", "--set", "head_width=8"]
    blocks = ["--encoder", "unet", "--attention", "global-context"]
    result = geonp(
        "fit", tiles, *QUICK, "--model", "convcnp", *blocks, *sizes, "-o", model, "--no-compare", "-q"
    )
    assert result.exit_code == 0, result.stderr
    result = geonp("predict", holey, "--mean", mean, "--model", model, "-q")
    assert result.exit_code == 0, result.stderr
    assert mean.is_file()


@pytest.mark.parametrize(
    ("wrong", "told", "code"),
    [
        (["--model", "convcpn"], "convcnp", 2),
        (["--model", "convcnp", "--encoder", "resnet"], "residual", 1),
        (["--model", "ifnp", "--attention", "senet"], "squeeze-excitation", 1),
        (["--model", "cnp", "--encoder", "unet"], "no setting 'encoder'", 1),
    ],
)
def test_unknown_names_are_answered_with_those_there_are(
    wrong: list[str], told: str, code: int, geonp: Geonp, tiles: Path, tmp_path: Path
) -> None:
    result = geonp("fit", tiles, *QUICK, *wrong, "-o", tmp_path / "m.safetensors", "--no-compare")
    assert result.exit_code == code
    assert told in result.stderr
    assert not list(tmp_path.iterdir())
