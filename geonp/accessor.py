"""The `.geonp` accessor of xarray objects: thin, everything is done elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import xarray as xr

from geonp._loading import undisturbed
from geonp.errors import InputError, UsageError

if TYPE_CHECKING:
    from geonp.methods.base import Method
    from geonp.methods.errors import Stated
    from geonp.methods.policy import Policy

Device = Literal["auto", "cpu", "cuda"]


@xr.register_dataarray_accessor("geonp")  # type: ignore[no-untyped-call]
class DataArrayAccessor:
    """Completion of one gridded variable: `array.geonp`."""

    def __init__(self, array: xr.DataArray) -> None:
        self._array = array

    def _repr_html_(self) -> str:
        """Return what a notebook shows: a picture, and how much is observed."""
        from geonp.report.card import of_array

        return of_array(self._array)

    def complete(
        self,
        method: str | Method = "auto",
        model: str | None = None,
        *,
        variance: bool = True,
        status: bool = False,
        tile: int | None = None,
        keep_observed: bool = True,
        covariates: xr.DataArray | Sequence[xr.DataArray] = (),
        covariate_policy: Policy = "auto",
        errors: Stated | None = None,
        device: Device = "auto",
        seed: int = 0,
    ) -> xr.Dataset:
        """Return the array without holes, and how uncertain every filled pixel is.

        Parameters
        ----------
        method : a name (see `geonp.methods.METHODS`), or a Method with the parameters of your choice.
        model : a model file written by `geonp fit`; used with the method `neural`, or `auto`.
        variance : whether the variance is wanted; a method without one raises MethodError.
        status : whether to add `status` (uint8: 0 masked, 1 observed, 2 interpolated, 3 extrapolated).
        tile : side in pixels of the windows in which the array is read and completed.
        keep_observed : return observed pixels as they were, with variance 0, or as the method predicts them.
        covariates : rasters that the array follows (terrain, another band, yesterday's scene), one or several,
            on whatever grid; each of their bands is a covariate (`geonp.methods.covaried.with_covariates`).
        covariate_policy : `auto` uses the covariates that help on hidden observations, `always` all, `never` none.
        errors : standard deviations of the observations' errors, in the array's units: an array on the same grid, or
            one number (`geonp.methods.errors.with_errors`). Those that err more weigh less, and observed pixels
            whose error is not 0 are estimated.
        device : where networks and kriging run.
        seed : seed of whatever a method draws while it is fitted.

        Returns
        -------
        Dataset
            `mean` in the array's units and `variance` in their square, in the array's own dimensions and
            coordinates. Of a dask array they are dask arrays in its chunks, and nothing is computed yet.

        Raises
        ------
        InputError
            If nothing is observed (of a dask array: when it is computed), or the array has no two spatial
            dimensions.
        MethodError
            If a variance is wanted of a method that has none.
        UsageError
            If there is no such method, or it takes no errors.
        ModelError
            If the model file is not one of ours or does not fit the array.
        """
        with undisturbed():
            from geonp.chunked import complete as run
            from geonp.io.cf import describe
            from geonp.methods.choose import choose
            from geonp.methods.covaried import with_covariates
            from geonp.methods.errors import with_errors

        how = choose(method, model, device=device, seed=seed)
        how = how if errors is None else with_errors(how, errors)
        done = run(
            self._array,
            with_covariates(how, covariates, covariate_policy, seed),
            variance=variance,
            status=status,
            tile=tile,
            keep_observed=keep_observed,
        )
        out = xr.Dataset({name: _unfold(values, self._array) for name, values in done.items()})
        return describe(out, self._array)


@xr.register_dataset_accessor("geonp")  # type: ignore[no-untyped-call]
class DatasetAccessor:
    """Completion of every gridded variable of a data set: `dataset.geonp`."""

    def __init__(self, dataset: xr.Dataset) -> None:
        self._dataset = dataset

    def _repr_html_(self) -> str:
        """Return what a notebook shows of a prediction: mean, deviation, and the numbers that matter."""
        from geonp.report.card import of_dataset

        return of_dataset(self._dataset)

    def complete(
        self,
        method: str | Method = "auto",
        model: str | None = None,
        *,
        variance: bool = True,
        tile: int | None = None,
        keep_observed: bool = True,
        covariates: xr.DataArray | Sequence[xr.DataArray] = (),
        covariate_policy: Policy = "auto",
        errors: Stated | Mapping[str, Stated] | None = None,
        device: Device = "auto",
        seed: int = 0,
    ) -> xr.Dataset:
        """Complete every floating variable on the grid and add `<name>_variance`, linked by CF attributes.

        Variables without two spatial dimensions, and those that are not floating, are left as they are.
        Parameters and errors are those of `array.geonp.complete`; `errors` are the same for all variables, or told by
        a variable's name (a dict, or a data set), and those that are not named have none.

        Raises
        ------
        InputError
            If there is no floating variable on a grid.
        UsageError
            If errors are told of what is no such variable.
        """
        from geonp.io.cf import link_variance

        names = [str(name) for name, array in self._dataset.data_vars.items() if _is_gridded(array)]
        if not names:
            raise InputError(
                f"no floating variable with two spatial dimensions among {sorted(map(str, self._dataset))}; "
                "name the dimensions y and x (or lat and lon), and convert integers with .astype('f4')"
            )
        stated = dict(errors) if isinstance(errors, Mapping) else dict.fromkeys(names, errors)
        if astray := [name for name in stated if name not in names]:
            raise UsageError(
                f"errors are told of {', '.join(map(str, astray))}, and the variables that are completed are "
                f"{', '.join(names)}; name errors like the variables"
            )
        out = self._dataset.copy()
        for name in names:
            array = self._dataset[name]
            done = array.geonp.complete(
                method,
                model,
                variance=variance,
                tile=tile,
                keep_observed=keep_observed,
                covariates=covariates,
                covariate_policy=covariate_policy,
                errors=stated.get(name),
                device=device,
                seed=seed,
            )
            out[name] = done["mean"].assign_attrs(array.attrs)
            if variance:
                out[f"{name}_variance"] = done["variance"]
                out = link_variance(out, name)
        return out


def _is_gridded(array: xr.DataArray) -> bool:
    from geonp.field import spatial_dims

    return array.dtype.kind == "f" and spatial_dims(array) is not None


def _unfold(values: xr.DataArray, like: xr.DataArray) -> xr.DataArray:
    """Return values (band, y, x) in the dimensions and on the coordinates of the array they came from."""
    from geonp.field import spatial_dims

    y, x = spatial_dims(like) or like.dims[-2:]
    leading = [d for d in like.dims if d not in (y, x)]
    shape = [like.sizes[d] for d in (*leading, y, x)]
    plain = xr.DataArray(values.data.reshape(shape), dims=(*leading, y, x)).transpose(*like.dims)
    return (plain.chunk(like.chunksizes) if like.chunksizes else plain).assign_coords(like.coords)
