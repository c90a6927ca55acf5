"""The accessor: own dimensions and coordinates back, every variable of a data set, links by CF."""

import numpy as np
import pytest
import xarray as xr

import geonp
from geonp.errors import InputError, MissingCRSWarning, UsageError


def test_mean_and_variance_lie_on_the_array_itself(survey: xr.DataArray) -> None:
    survey.attrs["units"] = "m"
    done = survey.geonp.complete("pykrige")
    assert done["mean"].dims == done["variance"].dims == survey.dims
    for name in survey.coords:
        xr.testing.assert_identical(done.coords[name], survey.coords[name])
    assert done["mean"].attrs["units"] == "m"
    assert done["variance"].attrs["units"] == "m2"
    assert done["mean"].attrs["ancillary_variables"] == "variance"
    seen = survey.notnull()
    assert bool((done["mean"].where(seen) == survey.where(seen)).where(seen, True).all())
    assert bool((done["variance"].where(~seen, 1) > 0).all())


@pytest.mark.parametrize("order", [("time", "y", "x"), ("y", "x", "time"), ("x", "time", "y")])
def test_other_dimensions_are_restored_in_their_order(survey: xr.DataArray, order: tuple[str, ...]) -> None:
    cube = xr.concat([survey, survey + 100], dim="time").assign_coords(time=[10, 20]).transpose(*order)
    done = cube.geonp.complete("linear", variance=False)["mean"]
    assert done.dims == order
    one = survey.geonp.complete("linear", variance=False)["mean"]
    np.testing.assert_allclose(done.sel(time=20).transpose("y", "x"), one + 100, atol=1e-3)


def test_every_floating_variable_of_a_dataset_is_completed(survey: xr.DataArray) -> None:
    data = xr.Dataset(
        {
            "depth": survey.assign_attrs(units="m", standard_name="altitude"),
            "count": survey.notnull().astype("i4"),
            "station": ("n", [1.0, 2.0]),
        }
    )
    done = data.geonp.complete("pykrige")
    assert set(done) == {"depth", "count", "station", "depth_variance"}
    assert bool(done["depth"].notnull().all())
    assert "depth_variance" in done["depth"].attrs["ancillary_variables"]
    assert done["depth"].attrs["standard_name"] == "altitude"
    assert done["depth_variance"].attrs["units"] == "m2"
    xr.testing.assert_identical(done["count"], data["count"])
    assert data["depth"].isnull().any(), "the data set given is left as it is"


def test_a_dataset_without_a_grid_says_what_it_has() -> None:
    with pytest.raises(InputError, match="station"):
        xr.Dataset({"station": ("n", [1.0, 2.0])}).geonp.complete()


def test_without_crs_it_works_in_pixels_with_a_warning(survey: xr.DataArray) -> None:
    bare = xr.DataArray(survey.values, dims=("y", "x"))
    with pytest.warns(MissingCRSWarning, match="pixels"):
        done = bare.geonp.complete("linear", variance=False)
    expected = survey.geonp.complete("linear", variance=False)
    np.testing.assert_allclose(
        done["mean"], expected["mean"], atol=1e-3
    )  # square pixels: only the unit differs


def test_dask_in_windows_equals_eager(survey: xr.DataArray) -> None:
    eager = survey.geonp.complete("nearest", variance=False, tile=32)
    lazy = survey.chunk({"y": 20, "x": 17}).geonp.complete("nearest", variance=False, tile=32)
    xr.testing.assert_equal(eager["mean"], lazy["mean"])


def test_south_up_grids_are_completed_like_any_other(survey: xr.DataArray) -> None:
    plain = survey.geonp.complete("rbf", variance=False)["mean"]
    flipped = survey[::-1].geonp.complete("rbf", variance=False)["mean"]
    # Equally distant neighbours are told apart by their place on the grid, which a flip changes.
    assert float(abs(flipped[::-1] - plain).mean()) < 0.002 * float(survey.std())


def test_an_unknown_method_is_a_usage_error(survey: xr.DataArray) -> None:
    with pytest.raises(UsageError, match="did you mean"):
        survey.geonp.complete("krigin")
    with pytest.raises(geonp.GeonpError, match="takes no model"):
        survey.geonp.complete("cubic", model="model.safetensors")


def test_errors_of_a_dataset_are_told_by_name_or_for_all(survey: xr.DataArray) -> None:
    part = survey[:24, :20]
    data = xr.Dataset({"depth": part, "rough": 2 * part})
    off = xr.Dataset({"depth": part.notnull() * 9.0})
    done = data.geonp.complete("kriging", errors=off)
    told, plain = (
        data["depth"].geonp.complete("kriging", errors=off["depth"]),
        data["rough"].geonp.complete("kriging"),
    )
    np.testing.assert_array_equal(done["depth"], told["mean"])
    np.testing.assert_array_equal(done["rough"], plain["mean"])
    assert bool((done["depth_variance"] > 0).all())
    for_all = data.geonp.complete("kriging", errors=9.0)
    np.testing.assert_array_equal(for_all["depth_variance"], told["variance"])
    assert float(for_all["rough_variance"].min()) > 0
    with pytest.raises(UsageError, match=r"errors are told of deep, and the variables .* are depth, rough"):
        data.geonp.complete("kriging", errors={"deep": 1.0})
