import gc

import pytest

from geonp._loading import load, undisturbed


def test_the_collector_is_at_rest_while_modules_load_and_as_before_afterwards() -> None:
    assert gc.isenabled()
    with undisturbed():
        assert not gc.isenabled()
        with undisturbed():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ModuleNotFoundError):
        load("geonp.nowhere")
    assert gc.isenabled()
    gc.disable()
    try:
        load("geonp.errors")
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_loaded_is_not_looked_at_as_new_and_nothing_stays_frozen() -> None:
    with undisturbed():
        many = [[] for _ in range(20 * gc.get_threshold()[0])]
    young = gc.get_objects(generation=0)
    assert not {id(one) for one in many} & {id(one) for one in young}
    assert gc.get_freeze_count() == 0


def test_what_somebody_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with undisturbed():
            pass
        # Some of them end meanwhile, by their reference count.
        assert gc.get_freeze_count() > frozen / 2 > 0
    finally:
        gc.unfreeze()
