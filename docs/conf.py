"""Sphinx configuration. The tutorials are executed when the pages are built; an error stops the build."""

from geonp import __version__

project = "geonp"
author = "The geonp developers"
version = release = __version__
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = f"geonp {version}"
exclude_patterns = ["_build", "recipes"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_merge_streams = True
myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_google_docstring = False
