import gc
import subprocess
import sys

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


def test_kriging_loads_no_package_that_it_does_not_use() -> None:
    """What a first call costs: PyKrige, scikit-image, Fabric and the like stay away."""
    code = "import sys, geonp.methods; geonp.methods.method_class('kriging'); print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    roots = {name.split(".")[0] for name in told.stdout.split()}
    assert "torch" in roots
    assert not roots & {"pykrige", "skimage", "lightning_fabric", "lightning", "netCDF4", "zarr", "pyogrio"}
    assert not {
        "scipy.stats",
        "scipy.optimize",
        "scipy.interpolate",
        "torch._dynamo",
        "torch._inductor",
        "matplotlib.pyplot",
    } & set(told.stdout.split())
