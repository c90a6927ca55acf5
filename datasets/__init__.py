"""Public data sets: where they come from, under which licence, and how to read them.

`registry` says what there is, `store` where it lies on this machine and how it gets there; `images`, `rasters`
and `heaton` read it.
"""

from .registry import DataSet, RemoteFile, data_set, data_sets
from .store import Store

__all__ = ["DataSet", "RemoteFile", "Store", "data_set", "data_sets"]
