"""Two runs are compared by what the reference took in each, so that machines cancel."""

import math
from dataclasses import replace

import pytest

from geonp.benchmarks.speed.against import Quantity, compare
from geonp.benchmarks.speed.record import Outcome, Record
from geonp.errors import InputError
from tests.benchmarks.speed.made import point, record, reference

SIZES = (10**5, 10**6)


def run(machine: float = 1.0, kriging: float = 1.0, memory: int = 2**30) -> Record:
    """Return a run on a machine that takes `machine` times as long, with a kriging that does."""
    points = [reference(n, machine * 2e-5 * n) for n in SIZES]
    points += [point("kriging", n, machine * kriging * 1e-5 * n, peak=memory) for n in SIZES]
    points += [point("PyKrige", SIZES[0], 100 * kriging, peer=True)]
    return record(points)


@pytest.mark.parametrize("machine", [0.25, 1.0, 7.0])
def test_a_machine_makes_nothing_faster_or_slower(machine: float) -> None:
    found = compare(run(machine), run(), 1.5)
    assert found.worse == ()
    assert [c.ratio for c in found.changes] == pytest.approx([1.0] * 4)
    assert {c.method for c in found.changes} == {"kriging"}


@pytest.mark.parametrize("machine", [0.25, 7.0])
def test_what_became_slower_is_found_on_any_machine(machine: float) -> None:
    found = compare(run(machine, kriging=2.0), run(), 1.5)
    assert [(c.method, c.size, c.quantity) for c in found.worse] == [
        ("kriging", n, Quantity.TIME) for n in SIZES
    ]
    assert [c.ratio for c in found.worse] == pytest.approx([2.0, 2.0])
    assert compare(run(machine, kriging=2.0), run(), 2.5).worse == ()
    assert compare(run(machine, kriging=0.4), run(), 1.5).worse == ()
    assert compare(run(), run(machine, kriging=2.0), 1.5).worse == ()


def test_memory_is_compared_as_it_is() -> None:
    found = compare(run(7.0, memory=3 * 2**30), run(), 1.5)
    assert [c.quantity for c in found.worse] == [Quantity.MEMORY] * 2
    assert found.worse[0].before == 1
    assert found.worse[0].now == 3


def test_what_takes_no_time_is_not_compared() -> None:
    short = [replace(p, seconds=0.01 * (p.seconds or 0), cpu=0.0) for p in run().points]
    slower = [p if p.peer else replace(p, seconds=10 * (p.seconds or 0)) for p in short]
    found = compare(record(slower), record(short), 1.5)
    assert [c.quantity for c in found.changes if c.size == SIZES[0]] == [Quantity.MEMORY]
    assert [c.size for c in found.worse] == [SIZES[1]]


def test_a_run_that_was_stopped_is_slower_only_if_it_was_given_enough() -> None:
    def stopped(limit: float | None) -> Record:
        points = [p for p in run().points if (p.method, p.pixels) != ("kriging", 10**6)]
        return record([*points, point("kriging", 10**6, None, limit=limit)])

    assert [c.size for c in compare(stopped(20.0), run(), 1.5).worse] == [10**6]
    assert compare(stopped(12.0), run(), 1.5).worse == ()
    assert compare(stopped(None), run(), 1.5).worse == ()
    assert "worse, stopped" in compare(stopped(20.0), run(), 1.5).table().to_markdown()


def test_a_run_that_fails_is_worse_than_any() -> None:
    points = [
        replace(p, outcome=Outcome.FAILED, seconds=None) if p.method == "kriging" else p for p in run().points
    ]
    found = compare(record(points), run(), 1000)
    assert [c.now for c in found.worse] == [math.inf] * 2
    assert "failed" in found.table().to_markdown()


def test_the_nearest_size_of_the_reference_serves_where_it_has_not_the_same() -> None:
    def without(which: Record) -> Record:
        return record([p for p in which.points if not (p.peer and p.pixels == 10**6)])

    found = compare(without(run(3.0, kriging=2.0)), without(run()), 1.5)
    assert [c.ratio for c in found.worse] == pytest.approx([2.0, 2.0])


def test_runs_that_cannot_be_compared_say_why() -> None:
    nothing = record([p for p in run().points if not p.peer])
    with pytest.raises(InputError, match="this run has no time of the reference, SciPy griddata, cubic"):
        compare(nothing, run(), 1.5)
    with pytest.raises(InputError, match="the kept run"):
        compare(run(), nothing, 1.5)
    with pytest.raises(InputError, match="no size of a method in common"):
        compare(run(), record([reference(10**5, 1.0), point("kriging", 10**7, 1.0)]), 1.5)


def test_the_table_has_the_worst_first() -> None:
    lines = compare(run(kriging=2.0), run(), 1.5).table().to_markdown().splitlines()
    assert lines[4] == "| pixels | kriging | 100,000 | time | 0.50 | 1.00 | 2.00 | worse |"
    assert lines[-1].endswith("| same |")
