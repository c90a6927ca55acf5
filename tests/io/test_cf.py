"""What CF says of a mean and its variance."""

import numpy as np
import pytest
import xarray as xr

from geonp.io import cf


class TestAttributes:
    @pytest.mark.parametrize(
        ("units", "squared"),
        [
            ("m", "m2"), ("m s-1", "m2 s-2"), ("m2", "m4"), ("m**2 s**-2", "m**4 s**-4"),
            ("kg m-2 s-1", "kg2 m-4 s-2"),
            ("m/s", "(m/s)2"), ("mm/m", "(mm/m)2"), ("%", "(%)2"), ("degC", "K2"), ("degree_Celsius", "K2"),
            ("Deg C", "K2"), ("°C", "K2"), ("K", "K2"), ("1", "1"), ("", ""), ("-", "-"), ("W.m-2", "W2 m-4"),
        ],
    )  # fmt: skip
    def test_units_of_a_variance(self, units, squared):
        assert cf.squared(units) == squared

    def test_describing_a_prediction(self):
        source = xr.DataArray(
            np.zeros((2, 2)), attrs={"units": "m", "scale_factor": 2, "valid_max": 3}, name="dem"
        )
        source.encoding["grid_mapping"] = "crs"
        out = cf.describe(xr.Dataset({"mean": source.copy(), "variance": source.drop_attrs()}), source)
        assert out["mean"].attrs == {"units": "m", "ancillary_variables": "variance"}
        assert out["variance"].attrs == {"units": "m2", "long_name": "variance of dem"}
        assert out["variance"].encoding["grid_mapping"] == "crs"
        assert "ancillary_variables" not in source.attrs

    def test_linking_a_variance(self):
        dem = xr.DataArray(np.zeros(2), attrs={"units": "m", "ancillary_variables": "variance quality"})
        data = xr.Dataset({"dem": dem, "quality": dem, "dem_variance": dem})
        out = cf.link_variance(data, "dem")
        assert out["dem"].attrs["ancillary_variables"] == "quality dem_variance"
        assert out["dem_variance"].attrs == {"units": "m2", "long_name": "variance of dem"}
        assert data["dem"].attrs["ancillary_variables"] == "variance quality"
