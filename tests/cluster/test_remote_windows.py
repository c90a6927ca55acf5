"""A remote raster is read by the workers; the client sends them its address alone."""

from pathlib import Path

import numpy as np
import xarray as xr
from distributed import Client

import geonp
from geonp import cluster as clusters
from geonp.methods.classical import Nearest
from geonp.predict import begin
from tests.cli.conftest import write
from tests.io.server import serving


def test_workers_read_a_remote_raster_themselves(
    survey: xr.DataArray, client: Client, tmp_path: Path
) -> None:
    write(tmp_path / "survey.tif", survey.values, nodata=float("nan"))
    here = geonp.complete(geonp.open_field(tmp_path / "survey.tif"), Nearest(), variance=False, tile=32)
    with serving(tmp_path) as server:
        field = geonp.open_field(f"{server.url}/survey.tif")
        ready = begin(field, Nearest(), variance=False, tile=32)
        fetched = server.sent("/survey.tif")
        steps = clusters.Workers(client).completed(ready, ready.windows())
        done = np.full((96, 80), np.nan)
        for layers in steps:
            window = layers.window
            done[window.row : window.stop[0], window.col : window.stop[1]] = layers.mean[0]
        assert server.sent("/survey.tif") > fetched
    np.testing.assert_array_equal(done, here["mean"][0])
    local = clusters._Run.of(
        client, begin(geonp.open_field(tmp_path / "survey.tif"), Nearest(), variance=False), 0
    )
    assert not local.remote
