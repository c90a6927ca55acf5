"""Trainings that go on: the same weights and scores as if nothing had happened."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from geonp.benchmarks.contest import hold
from geonp.benchmarks.images import Images
from geonp.benchmarks.plan import Plan
from geonp.benchmarks.runs import Trained, Workplace, train
from geonp.benchmarks.systems import System, sized
from geonp.errors import InputError, UsageError

IDENTITY = {"benchmark": "test", "steps": "4"}


def workplace(folder: Path) -> Workplace:
    return Workplace(folder, IDENTITY, "cpu", lambda line: None)


def test_networks_have_about_as_many_parameters() -> None:
    wanted = sized(System("IFANP", "ifanp"), 3, channels=16).parameters
    for name in ("ifnp", "ifnp-lpa", "ifnp-senet", "ifnp-gca", "np", "vae", "cnp"):
        found = sized(System(name, name), 3, count=wanted)
        assert abs(found.parameters / wanted - 1) < 0.05, name
        assert "bands=3" in str(found)
    with pytest.raises(UsageError, match="there is no architecture"):
        sized(System("x", "resnet"), 1, channels=8)


def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, images: Images, plan: Plan
) -> None:
    size = sized(System("IFNP", "ifnp"), 1, channels=8)

    def run(folder: Path, plan: Plan) -> Trained:
        return train("a", size, images, (0.3, 0.6), plan, 0, workplace(folder))

    # The second training stops after two of its four steps, as if the machine had: the plan is the same, the
    # state of the second validation is not there yet.
    whole = run(tmp_path / "one", plan)

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        raise Stop

    with pytest.raises(Stop):
        train("a", size, images, (0.3, 0.6), plan, 0, Workplace(tmp_path / "two", IDENTITY, "cpu", stop))
    again = run(tmp_path / "two", plan)
    for one, two in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(one, two)
    assert whole.steps_per_second is not None
    restored = run(tmp_path / "one", plan)
    assert restored.steps_per_second is None
    for one, two in zip(whole.model.parameters(), restored.model.parameters(), strict=True):
        assert torch.equal(one, two)


def test_what_was_scored_is_not_scored_again(tmp_path: Path) -> None:
    asked = []

    def work() -> dict[str, float]:
        asked.append(1)
        return {"psnr": 20.0}

    assert workplace(tmp_path).score("a", work) == {"psnr": 20.0}
    assert workplace(tmp_path).score("a", work) == {"psnr": 20.0}
    assert asked == [1]


def test_a_last_line_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    workplace(tmp_path).score("a", lambda: {"psnr": 20.0})
    workplace(tmp_path).score("b", lambda: {"psnr": 21.0})
    journal = tmp_path / "runs.jsonl"
    journal.write_text(journal.read_text()[:-7])
    assert workplace(tmp_path).score("a", dict) == {"psnr": 20.0}
    assert workplace(tmp_path).score("b", lambda: {"psnr": 22.0}) == {"psnr": 22.0}
    assert workplace(tmp_path).score("b", dict) == {"psnr": 22.0}


def test_runs_of_something_else_are_refused(tmp_path: Path) -> None:
    workplace(tmp_path)
    with pytest.raises(UsageError, match="holds runs with steps 4, and this one has 5"):
        Workplace(tmp_path, {**IDENTITY, "steps": "5"}, "cpu", print)


@pytest.mark.parametrize("text", ["", "no json\n", "[]\n", '{"key": 1}\n'])
def test_a_damaged_journal_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.jsonl").write_text(text)
    with pytest.raises(InputError, match="is damaged"):
        workplace(tmp_path)


def test_a_contest_goes_on_with_more_seeds(tmp_path: Path, images: Images, plan: Plan) -> None:
    systems = (System("IFNP", "ifnp"), System("IFANP", "ifanp"))
    scored: list[int] = []

    def work(trained: Trained) -> dict[str, float]:
        scored.append(1)
        return {"sum": float(sum(p.detach().sum() for p in trained.model.parameters()))}

    def run(seeds: int) -> dict[str, list[float]]:
        found = hold(
            systems, systems[1], images, (0.3, 0.6), replace(plan, seeds=seeds), workplace(tmp_path), work
        )
        assert set(found.models) == {"IFNP", "IFANP"}
        return {label: [one["sum"] for one in scores] for label, scores in found.found.items()}

    first, second = run(1), run(2)
    assert len(scored) == 4
    assert {label: scores[:1] for label, scores in second.items()} == first
    assert second["IFNP"][0] != second["IFNP"][1]
