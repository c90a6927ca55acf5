"""`--covariate` and `--error` from every command that asks something of a map, as they are typed."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from scipy.ndimage import gaussian_filter

from tests.io.server import serving

from .conftest import Geonp, write

KRIGED = ("--method", "kriging", "--variogram", "matern32:range=400,sill=4,nugget=0.1")
TOP, LEFT = 4_000_000, 500_000


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temperatures at 120 pixels, the terrain that they follow, their errors, and rasters that cannot be used."""
    monkeypatch.chdir(tmp_path)
    shape, rng = (30, 28), np.random.default_rng(0)
    height = (gaussian_filter(rng.standard_normal(shape), 2) * 700 + 500).astype("f4")
    truth = 15 - 0.03 * height + 3 * gaussian_filter(rng.standard_normal(shape), 6)
    seen = np.zeros(shape, bool)
    seen.flat[rng.permutation(height.size)[:120]] = True
    off = np.where(rng.random(shape) < 0.3, 2.0, 0.1)
    noisy = truth + off * rng.standard_normal(shape)
    nowhere = rasterio.transform.from_origin(LEFT + 90_000, TOP, 30, 30)
    shifted = rasterio.transform.from_origin(LEFT + 11, TOP, 30, 30)
    write(Path("dem.tif"), height)
    write(Path("away.tif"), height, transform=nowhere)
    write(Path("zone17.tif"), height, crs="EPSG:32617")
    write(Path("holey.tif"), np.where(np.arange(28) < 9, height, np.nan).astype("f4"), nodata=np.nan)
    write(Path("flat.tif"), np.full(shape, 7, "f4"))
    write(Path("error.tif"), np.where(seen, off, np.nan).astype("f4"), nodata=np.nan)
    write(Path("shifted.tif"), off.astype("f4"), transform=shifted)
    write(Path("negative.tif"), -off.astype("f4"))
    write(Path("zero.tif"), np.zeros(shape, "f4"))
    write(Path("some.tif"), np.where(np.arange(28) < 9, off, np.nan).astype("f4"), nodata=np.nan)
    write(Path("survey.tif"), np.where(seen, noisy, np.nan).astype("f4"), nodata=np.nan)
    return tmp_path


COMMANDS = {
    "simulate": ("simulate", "survey.tif", "-n", "2", "-o", "out.tif", *KRIGED),
    "exceed": ("exceed", "survey.tif", "--above", "2", "-o", "out.tif", *KRIGED),
    "exceed areas": ("exceed", "survey.tif", "--blocks", "15", "-n", "2", "-o", "out.csv", *KRIGED),
    "suggest": ("suggest", "survey.tif", "-n", "2", "-o", "out.csv", *KRIGED),
    "suggest lines": (
        "suggest",
        "survey.tif",
        "--lines",
        "-n",
        "1",
        "--length",
        "300",
        "-o",
        "out.csv",
        *KRIGED,
    ),
    "evaluate": ("evaluate", "survey.tif", "--methods", "kriging"),
}
ALWAYS = ("--covariate-policy", "always")
Run = Callable[..., None]


@pytest.mark.parametrize(
    ("given", "code", "told"),
    [
        (("--covariate", "missing.tif"), 1, "missing.tif: there is no such file"),
        (("--covariate", "away.tif"), 1, "covers none of the survey's pixels"),
        (("--covariate", "zone17.tif"), 1, "covers none of the survey's pixels"),
        (("--covariate", "holey.tif"), 1, "is not known at 68% of the survey's pixels"),
        (("--covariate", "flat.tif", *ALWAYS), 1, "is constant at the observations"),
        (("--covariate", "dem.tif", "--covariate-policy", "often"), 2, "'often' is not one of"),
        (("--error", "missing.tif"), 1, "missing.tif: there is no such file"),
        (("--error", "-1"), 2, "an error of -1.0 is impossible"),
        (("--error", "nan"), 2, "an error of nan is impossible"),
        (("--error", "shifted.tif"), 1, "lie on another grid than the survey"),
        (("--error", "negative.tif"), 1, "an error is a standard deviation"),
        (("--error", "some.tif"), 1, "is missing"),
        (("--error", "1", "--error-column", "sigma"), 2, "give one of them"),
        (("--error-column", "sigma"), 2, "has no columns"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_cannot_be_is_said_in_a_line(
    geonp: Geonp, here: Path, command: str, given: tuple[str, ...], code: int, told: str
) -> None:
    result = geonp(*COMMANDS[command], *given)
    # An evaluation goes on with the methods that can be scored, and says why the others cannot.
    goes_on = command == "evaluate" and given[0] == "--covariate" and code == 1 and given[1] != "missing.tif"
    assert result.exit_code == (0 if goes_on else code), result.stderr
    assert told in result.stderr + (result.stdout if goes_on else "")
    assert not list(here.glob("*out.*"))


@pytest.mark.parametrize("command", COMMANDS)
def test_errors_of_zero_are_none(geonp: Geonp, here: Path, command: str) -> None:
    if command == "evaluate":
        words = (*COMMANDS[command], "--holdout", "leave-one-out", "--json")
        done = geonp(*words, "--error", "zero.tif")
        assert done.exit_code == 0, done.stderr
        plain, told = (row["scores"] for row in json.loads(done.stdout)["overall"])
        assert told["crps"] == pytest.approx(plain["crps"], rel=1e-3)
        return
    (out,) = (Path(word) for word in COMMANDS[command] if word.startswith("out."))
    found = []
    for given in ((), ("--error", "0"), ("--error", "zero.tif")):
        done = geonp(*COMMANDS[command], *given)
        assert done.exit_code == 0, done.stderr
        found.append(np.asarray(rasterio.open(out).read()) if out.suffix == ".tif" else out.read_text())
        out.unlink()
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_covariate_and_errors_are_heard(geonp: Geonp, here: Path, command: str) -> None:
    both = ("--covariate", "dem.tif", "--error", "error.tif")
    if command == "evaluate":
        done = geonp(*COMMANDS[command], *both, "--json")
        assert done.exit_code == 0, done.stderr
        rows = {row["method"]: row["scores"] for row in json.loads(done.stdout)["overall"]}
        assert list(rows) == ["kriging", "kriging + covariates", "kriging + covariates + errors"]
        assert rows["kriging + covariates"]["rmse"] < 0.8 * rows["kriging"]["rmse"]
        return
    (out,) = (Path(word) for word in COMMANDS[command] if word.startswith("out."))
    found = []
    for given in ((), both[:2], both):
        done = geonp(*COMMANDS[command], *given)
        assert done.exit_code == 0, done.stderr
        found.append(out.read_bytes())
        if out.suffix == ".tif" and given:
            with rasterio.open(out) as file:
                assert file.tags()["covariates"] == "dem.tif"
                assert ("errors" in file.tags()) == (given == both)
            assert "with dem.tif the CRPS on hidden observations is" in done.stderr
        out.unlink()
    assert len(set(found)) == 3


def test_an_output_is_no_covariate_of_its_own(geonp: Geonp, here: Path) -> None:
    before = Path("dem.tif").read_bytes()
    for words in (("simulate", "survey.tif"), ("exceed", "survey.tif", "--above", "2")):
        done = geonp(*words, "--covariate", "dem.tif", "-o", "dem.tif", "--overwrite", *KRIGED)
        assert done.exit_code != 0
        assert Path("dem.tif").read_bytes() == before


def test_probabilities_and_realisations_are_those_of_predict(geonp: Geonp, here: Path) -> None:
    words = ("--covariate", "dem.tif", "--error", "error.tif", *KRIGED)
    assert geonp("predict", "survey.tif", "-o", "mean.tif", "var.tif", *words).exit_code == 0
    assert geonp("exceed", "survey.tif", "--above", 2, "-o", "p.tif", *words).exit_code == 0
    assert geonp("exceed", "survey.tif", "--quantile", 0.5, "-o", "q.tif", *words).exit_code == 0
    assert geonp("simulate", "survey.tif", "-n", 60, "-o", "r.tif", *words).exit_code == 0
    mean, var, p, q, draws = (
        rasterio.open(f"{name}.tif").read().astype(float) for name in ("mean", "var", "p", "q", "r")
    )
    assert (var > 0).all()  # every sounding errs
    z = (mean[0] - 2) / np.sqrt(var[0])
    np.testing.assert_allclose(
        p[0], [[0.5 * math.erfc(-v / math.sqrt(2)) for v in row] for row in z], atol=1e-5
    )
    np.testing.assert_allclose(q, mean, rtol=1e-6)
    score = (draws.mean(0) - mean[0]) / np.sqrt(var[0] / 60)
    assert np.sqrt(np.mean(score**2)) == pytest.approx(1, abs=0.25)
    assert np.mean(draws.var(0, ddof=1) / var[0]) == pytest.approx(1, abs=0.06)


def test_errors_of_several_rasters_are_paired(geonp: Geonp, here: Path) -> None:
    for folder in ("surveys", "errors"):
        Path(folder).mkdir()
        for name in ("a", "b"):
            source = "survey.tif" if folder == "surveys" else "error.tif"
            Path(folder, f"{name}.tif").write_bytes(Path(source).read_bytes())
    words = ("evaluate", "surveys", "--methods", "kriging", "-q", "--json")
    done = geonp(*words, "--error", "errors")
    assert done.exit_code == 0, done.stderr
    assert [row["method"] for row in json.loads(done.stdout)["rows"]] == ["kriging", "kriging + errors"] * 2
    assert "1 error(s) for 2 raster(s); give --error once" in geonp(*words, "--error", "error.tif").stderr
    assert "one number for all" in geonp(*words, "--error", "1", "--error", "2").stderr
    Path("errors/b.tif").unlink()
    assert "holds no error called b" in geonp(*words, "--error", "errors").stderr
    refused = geonp("evaluate", "survey.tif", "--methods", "cubic", "--error", "1")
    assert refused.exit_code == 2
    assert "none of the methods takes errors" in refused.stderr


def test_rasters_behind_an_address_are_evaluated_and_reported(geonp: Geonp, here: Path) -> None:
    words = ("--methods", "nearest", "-q", "--json")
    local = geonp("evaluate", "survey.tif", *words)
    with serving(here) as server:
        remote = geonp("evaluate", f"{server.url}/survey.tif", *words)
        virtual = geonp("evaluate", f"/vsicurl/{server.url}/survey.tif", "survey.tif", *words)
        truth = geonp("evaluate", "survey.tif", "--truth", f"{server.url}/dem.tif", *words)
        gone = geonp("evaluate", f"{server.url}/gone.tif", *words)
        page = geonp("report", f"{server.url}/survey.tif", "-o", "page.html", "--methods", "nearest", "-q")
    for done in (remote, virtual, truth, page):
        assert done.exit_code == 0, done.stderr
    here_, there = (json.loads(done.stdout) for done in (local, remote))
    assert here_["overall"][0]["scores"] == there["overall"][0]["scores"]
    assert [row["raster"] for row in there["rows"]] == ["survey.tif"]
    assert len(json.loads(virtual.stdout)["rows"]) == 2
    assert Path("page.html").stat().st_size > 10_000
    assert (gone.exit_code, gone.stdout) == (1, "")
    assert "404" in gone.stderr
    assert "check the address" in gone.stderr
