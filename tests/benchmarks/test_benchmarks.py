"""Each benchmark from arrays to a result, short; and what it says of numbers that are given."""

import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.geo.xr import wrap_xr
from scipy.ndimage import distance_transform_edt

from geonp.benchmarks import completion, heaton, report, table1, terrain
from geonp.benchmarks.crops import as_images, crops
from geonp.benchmarks.images import Images
from geonp.benchmarks.plan import Budget, Plan
from geonp.benchmarks.runs import Workplace
from geonp.errors import InputError


def workplace(folder: Path) -> Workplace:
    return Workplace(folder, {}, "cpu", lambda line: None)


def field(values: np.ndarray) -> xr.DataArray:
    rows, cols = values.shape
    box = GeoBox.from_bbox((0, 0, cols * 30, rows * 30), "EPSG:32616", shape=(rows, cols))
    return wrap_xr(values.astype(np.float32), box)


@pytest.fixture(scope="module")
def hills() -> dict[str, xr.DataArray]:
    y, x = np.mgrid[:100, :90] / 9
    waves = np.sin(y) * np.cos(0.7 * x) + 0.1 * np.sin(5 * x + 3 * y)
    return {"hills": field(100 * waves), "ridge": field(50 * np.abs(waves) + x)}


def scores(**psnr: list[float]) -> dict[str, list[dict[str, float]]]:
    names = {"lpa": "IFANP (LPA)", "senet": "IFANP (SENet)", "gca": "IFANP (GCA)"}
    return {
        names.get(key, key.upper()): [{f"psnr_{f}": value for f in (20, 40, 60)} for value in values]
        for key, values in psnr.items()
    }


def test_the_order_of_table1_is_told_with_the_spread_of_the_seeds() -> None:
    found = scores(ifnp=[15, 15.2], lpa=[15.1, 15.3], senet=[16, 16.1], gca=[18, 18.1], ifanp=[19, 19.2])
    line, *_, goal = table1.findings(found)
    assert "the paper's order holds" in line
    assert "IFNP → IFANP (LPA) +0.10 dB (within the seeds' spread)" in line
    assert "IFANP (LPA) → IFANP (SENet) +0.85 dB (beyond the seeds' spread)" in line
    assert "19.10 (19.39), 19.10 (19.86), 19.10 (20.14) dB" in goal
    found = scores(ifnp=[15.0], lpa=[14.0], senet=[16.0], gca=[18.0], ifanp=[19.0])
    assert "does not hold: IFNP → IFANP (LPA) -1.00 dB (one seed)" in table1.findings(found)[0]


def test_table1(tmp_path: Path, images: Images, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table1, "CLASSICAL", ("cubic", "nearest"))
    result = table1.run([images], plan, Budget.CPU, workplace(tmp_path))
    ours, paper = result.tables
    assert [row[0] for row in ours.rows] == [s.label for s in table1.SYSTEMS] + list(table1.CLASSICAL)
    sizes = [row[1] for row in ours.rows if row[1] is not None]
    assert max(sizes) / min(sizes) < 1.11
    assert paper.rows[-1][1:4] == (19.391, 19.862, 20.138)
    assert [p.name for p in result.pictures] == ["discs_completions", "discs_samples"]
    content = json.loads(result.to_json())
    rows = content["tables"][0]["rows"]
    assert all(row["kl_20"]["mean"] >= 0 for row in rows if row["model"] in table1.ORDER)
    # Of a disc, interpolators know more than networks after four steps.
    assert rows[-1]["psnr_20"] > rows[-3]["psnr_20"]["mean"]
    again = table1.run([images], plan, Budget.CPU, workplace(tmp_path))
    assert json.loads(again.to_json())["tables"] == content["tables"]


def test_completion(tmp_path: Path, images: Images, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "SYSTEMS", (completion.SYSTEMS[0], completion.REFERENCE))
    result = completion.run([images], plan, Budget.CPU, workplace(tmp_path))
    (table,) = result.tables
    best = -np.log(0.1 * np.sqrt(2 * np.pi))
    for row in json.loads(result.to_json())["tables"][0]["rows"]:
        assert row["hidden_5"]["mean"] <= best
    assert [row[0] for row in table.rows] == ["CNP", "IFANP"]


def test_report(
    tmp_path: Path, hills: dict[str, xr.DataArray], plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SYSTEMS", (report.REFERENCE,))
    monkeypatch.setattr("geonp.benchmarks.crops.TRAINED", 8)
    monkeypatch.setattr("geonp.benchmarks.crops.TESTED", 2)
    monkeypatch.setattr(report, "SHOWN", 1)
    images = as_images("dem", hills, hills, "made here")
    result = report.run([images], plan, Budget.CPU, workplace(tmp_path))
    rows = {row["method"]: row for row in json.loads(result.to_json())["tables"][0]["rows"]}
    assert list(rows) == ["ConvCNP", "nearest", "linear", "cubic", "rbf", "kriging"]
    assert rows["kriging"]["psnr"] > rows["nearest"]["psnr"]
    assert rows["kriging"]["crps"] is not None
    assert rows["cubic"]["crps"] is None
    assert result.findings[0].startswith("dem, by PSNR: ")


def test_heaton() -> None:
    y, x = np.mgrid[:40, :50] / 6
    truth = field(np.sin(y) + np.cos(x))
    hidden = np.zeros((40, 50), bool)
    hidden[10:20, 15:30] = True
    seen = truth.where(~xr.DataArray(hidden, dims=("y", "x")))
    result = heaton.run(seen, truth, Budget.CPU, lambda line: None, ("kriging", "nearest"))
    rows = {row["method"]: row for row in json.loads(result.to_json())["tables"][0]["rows"]}
    where = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    naive = truth.to_numpy()[tuple(where)]
    error = (naive - truth.to_numpy())[hidden]
    assert rows["nearest"]["rmse"] == pytest.approx(np.sqrt((error**2).mean()), rel=0.05)  # ties differ
    assert rows["kriging"]["rmse"] < rows["nearest"]["rmse"] / 3
    assert rows["nearest"]["crps"] is None
    assert 0 < rows["kriging"]["coverage"] <= 1
    assert "kriging: RMSE below that of 13 of 13 published methods" in result.findings[0]


def test_terrain(hills: dict[str, xr.DataArray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terrain, "CROPS", MappingProxyType({Budget.CPU: 2}))
    monkeypatch.setattr(terrain, "DRAWN", ("nearest",))
    result = terrain.run(hills, "made here", Budget.CPU, 1, lambda line: None, ("linear", "nearest"))
    assert len(result.tables) == 2
    for table in result.tables:
        assert [row[0] for row in table.rows] == ["linear", "nearest"]
        assert str(table.rows[0][1]).startswith("1.000")
        assert all(row[5] == 0 for row in table.rows)
    assert [p.name for p in result.pictures] == ["hillshades"]


def test_crops_are_whole_and_of_every_raster(hills: dict[str, xr.DataArray]) -> None:
    holey = hills["ridge"].copy()
    holey[:, :20] = np.nan
    found = crops({"a": hills["hills"], "b": holey, "small": hills["hills"][:20]}, 40, 8, seed=0)
    assert [name for name, _ in found] == ["a", "b"] * 4
    assert all(np.isfinite(one.to_numpy()).all() and one.shape[-2:] == (40, 40) for _, one in found)
    with pytest.raises(InputError, match="no crop of 40 x 40"):
        crops({"flat": hills["hills"] * 0}, 40, 1, seed=0)
