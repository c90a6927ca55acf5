"""The command line, `geonp`: one command a file, loaded when it is called."""

from .app import main

__all__ = ["main"]
