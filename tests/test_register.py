"""The accessor is there however xarray and geonp are imported, and geonp alone stays light."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.mark.parametrize(
    "imports",
    [
        "import geonp, xarray",
        "import xarray, geonp",
        "import geonp; from xarray import DataArray; import xarray",
    ],
)
def test_the_accessor_is_registered_in_any_order_of_import(imports: str) -> None:
    assert run(f"{imports}; print(hasattr(xarray.DataArray([1.0]), 'geonp'))") == "True"


def test_importing_geonp_imports_neither_xarray_nor_torch() -> None:
    heavy = "print(sorted({'xarray', 'torch', 'numpy', 'rasterio'} & set(sys.modules)))"
    assert run(f"import sys, geonp; {heavy}") == "[]"


def test_the_hook_leaves_no_trace_in_the_import_system() -> None:
    code = (
        "import sys, geonp, xarray, importlib;"
        "print(any('geonp' in type(f).__module__ for f in sys.meta_path), type(xarray.__loader__).__name__,"
        "importlib.reload(xarray) is xarray)"
    )
    assert run(code) == "False SourceFileLoader True"


def test_public_names_are_loaded_on_first_use() -> None:
    names = "(getattr(geonp, n) for n in geonp.__all__ if n != '__version__')"
    assert run(f"import geonp; print(all(map(callable, {names})))") == "True"
    assert "no attribute 'nonsense'" in run(
        "import geonp\ntry: geonp.nonsense\nexcept AttributeError as e: print(e)"
    )
