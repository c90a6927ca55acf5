"""Sphinx configuration. The tutorials are executed when the pages are built; an error stops the build."""

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path

from geonp import __version__

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "geonp"
author = "The geonp developers"
version = release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "command_examples",
    "automodules",
    "house_docstrings",
]
html_theme = "furo"
html_title = f"geonp {version}"
exclude_patterns = ["_build", "_ext", "recipes"]
suppress_warnings = ["mystnb.unknown_mime_type", "ref.python"]  # one name, two modules that have it
smartquotes = False  # two dashes are an option, and stay two
nitpicky = True
# Types in signatures belong to packages that are not part of this site.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
napoleon_google_docstring = False
napoleon_use_rtype = False


def _state_of_the_package() -> str:
    """Return a digest of everything that a tutorial's output depends on, other than its own text."""
    digest = hashlib.sha256()
    for folder in ("geonp", "cli", "datasets"):
        for path in sorted((HERE.parent / folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(str(path.relative_to(HERE.parent)).encode() + path.read_bytes())
    digest.update((HERE / "_ext" / "kernel_startup.py").read_bytes())
    return digest.hexdigest()[:16]


def _kernel_profile() -> str:
    """Return an IPython folder whose kernels stop at a shell command that fails."""
    folder = Path(tempfile.mkdtemp(prefix="geonp-docs-"))
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(HERE / "_ext" / "kernel_startup.py", startup / "00-stop-at-failures.py")
    return str(folder)


# What was executed is kept for as long as neither the page nor the package changes.
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE / "_build" / "executed" / _state_of_the_package())
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_execution_timeout = 300
nb_merge_streams = True
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
os.environ["IPYTHONDIR"] = _kernel_profile()
os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that wait for each other slow small rasters down
