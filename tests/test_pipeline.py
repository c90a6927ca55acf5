"""Threads that read ahead and write behind: order kept, errors told, nobody left running, never too far ahead."""

import threading
import time

import pytest

from geonp.pipeline import Behind, ahead


def readers() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("geonp-reader")}


def test_results_come_in_order_and_reading_is_one_item_ahead() -> None:
    asked: list[int] = []

    def read(n: int) -> int:
        asked.append(n)
        return n * n

    found = ahead(read, range(5))
    assert next(found) == 0
    time.sleep(0.05)
    assert asked == [0, 1]
    assert list(found) == [1, 4, 9, 16]


def test_reading_goes_on_while_its_last_result_is_used() -> None:
    met = threading.Barrier(2, timeout=20)

    def read(n: int) -> int:
        if n == 1:
            met.wait()  # only if the reader is another thread than the one that uses item 0
        return n

    for n in ahead(read, range(3)):
        if n == 0:
            met.wait()


def test_an_error_while_reading_comes_out_in_its_turn_and_ends_the_thread() -> None:
    def read(n: int) -> int:
        if n == 2:
            raise ValueError("torn")
        return n

    before, found = readers(), []
    with pytest.raises(ValueError, match="torn"):
        found.extend(ahead(read, range(9)))
    assert readers() <= before


def test_leaving_early_waits_for_the_reader() -> None:
    before = readers()
    found = ahead(lambda n: time.sleep(0.05) or n, range(100))
    next(found)
    assert readers() > before
    found.close()
    assert readers() <= before


def test_everything_is_written_in_order_before_the_end() -> None:
    written = []
    with Behind(lambda n: (time.sleep(0.01), written.append(n))[1]) as behind:
        for n in range(7):
            behind.put(n)
    assert written == list(range(7))


def test_a_failed_write_stops_the_work_and_is_told_once() -> None:
    written = []

    def write(n: int) -> None:
        if n == 1:
            raise OSError("full")
        written.append(n)

    def work() -> None:
        with Behind(write, depth=1) as behind:
            for n in range(1000):
                behind.put(n)

    with pytest.raises(OSError, match="full"):
        work()
    assert written == [0]


def test_the_last_write_that_fails_is_told_on_leaving() -> None:
    def fail(_: int) -> None:
        raise OSError("full")

    behind = Behind(fail)
    with pytest.raises(OSError, match="full"), behind:
        behind.put(0)


def test_an_interruption_drops_what_waits_and_keeps_its_own_error() -> None:
    written = []

    def interrupted() -> None:
        with Behind(lambda n: (time.sleep(0.05), written.append(n))[1], depth=3) as behind:
            for n in range(3):
                behind.put(n)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(written) <= 1
