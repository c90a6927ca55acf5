"""`geonp benchmark speed` as typed, with measurements that are made up."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from geonp.benchmarks.speed import suite
from geonp.benchmarks.speed.record import Record
from tests.benchmarks.speed.made import point, record, reference
from tests.cli.conftest import Geonp

SIZES = (10**5, 10**6)
RUN = record(
    [
        *(reference(n, 2e-5 * n) for n in SIZES),
        *(point("kriging", n, 1e-5 * n, crps=2.0, coverage90=0.9) for n in SIZES),
    ]
)


def at_pace(times: float) -> Record:
    """Return `RUN` with a geonp that takes so many times as long."""
    points = [p if p.peer else replace(p, seconds=times * (p.seconds or 0)) for p in RUN.points]
    return record(points)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[suite.Setting]:
    """What the suite was asked for; it answers `RUN` at once."""
    settings: list[suite.Setting] = []

    def run(setting: suite.Setting, tell: object) -> Record:
        settings.append(setting)
        return RUN

    monkeypatch.setattr(suite, "run", run)
    return settings


def test_a_run_is_kept_and_told(geonp: Geonp, asked: list[suite.Setting], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = geonp("benchmark", "speed", "--budget", "90s", "--device", "cpu", "--output", out)
    assert done.exit_code == 0, done.stderr
    assert (asked[0].budget, asked[0].device, asked[0].command) == (90.0, "cpu", "geonp.cli:main")
    assert Record.read(out / "speed.json") == RUN
    assert "| geonp kriging |" in done.stdout
    assert done.stdout == (out / "speed.md").read_text()
    assert (out / "speed_pixels.png").stat().st_size > 5000
    again = geonp("benchmark", "speed", "--output", out)
    assert again.exit_code == 1
    assert "exists already" in again.stderr


def test_the_budget_is_a_quarter_of_an_hour_unless_said(
    geonp: Geonp, asked: list[suite.Setting], tmp_path: Path
) -> None:
    done = geonp("benchmark", "speed", "--output", tmp_path / "out", "--json")
    assert done.exit_code == 0
    assert asked[0].budget == 900
    assert json.loads(done.stdout)["benchmark"] == "speed"


def test_a_run_beside_one_that_was_kept(geonp: Geonp, asked: list[suite.Setting], tmp_path: Path) -> None:
    same, faster = tmp_path / "same.json", tmp_path / "faster.json"
    same.write_text(at_pace(3).to_json())
    faster.write_text(at_pace(1 / 3).to_json())
    fine = geonp("benchmark", "speed", "--against", same, "--output", tmp_path / "a")
    assert fine.exit_code == 0, fine.stderr
    assert "| better |" in fine.stdout
    worse = geonp("benchmark", "speed", "--against", faster, "--output", tmp_path / "b")
    assert worse.exit_code == 1
    assert "| worse |" in worse.stdout
    assert f"became worse than in {faster}" in worse.stderr
    assert (tmp_path / "b" / "speed.json").exists()
    patient = geonp("benchmark", "speed", "--against", faster, "--tolerate", "4", "--output", tmp_path / "c")
    assert patient.exit_code == 0
    told = geonp("benchmark", "speed", "--against", same, "--output", tmp_path / "d", "--json")
    assert json.loads(told.stdout)["benchmark"] == "speed"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["speed", "--budget", "cpu"], 2, "--budget 15m"),
        (["speed", "--budget", "soon"], 2, "90s, 12m or 1.5h"),
        (["speed", "--seeds", "2"], 2, "no --seeds"),
        (["speed", "--resume", "--data", "dem"], 2, "no --data and no --resume"),
        (["speed", "--tolerate", "0.5"], 2, "--tolerate"),
        (["speed", "--against", "missing.json"], 1, "missing.json"),
        (["table1", "--budget", "12m"], 2, "times are for speed"),
        (["table1", "--against", "speed.json"], 2, "leave it out"),
    ],
)
def test_mistakes_are_answered_before_anything_is_measured(
    geonp: Geonp, asked: list[suite.Setting], tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    result = geonp("benchmark", *words, "--output", tmp_path / "out")
    assert result.exit_code == code
    assert said in result.stderr
    assert not asked
    assert not (tmp_path / "out").exists()
