"""A covariance as it is given on the command line: a file, JSON, or a few words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from geonp.errors import InputError, UsageError

if TYPE_CHECKING:
    from geonp.kriging.covariance import Covariance, Structure

FORMS = (
    "a file (what `geonp variogram --model-out` wrote, or an output of `geonp predict --method kriging`), "
    "JSON, or words such as 'exponential:range=500,sill=3,nugget=0.1'"
)
_TAG = re.compile(r"covariance_(\d+)|band_(\d+)_covariance")
_ARRAYS = (".nc", ".nc4", ".zarr")
_NUMBERS = ("range", "sill", "nu", "angle", "ratio", "exponent")
_LONGEST = 1 << 20


def read_covariances(text: str) -> tuple[Covariance, ...]:
    """Return the covariance that `text` is, or those that the file of that name holds, one a band.

    Parameters
    ----------
    text : JSON (it begins with a brace), a file, or `family:name=number,...`, structures joined by `+`.

    Raises
    ------
    UsageError
        If it is none of them, or a parameter is missing, unknown or outside its domain.
    InputError
        If a file cannot be read or holds none.
    """
    from geonp.kriging.covariance import Covariance

    if text.lstrip().startswith("{"):
        return (Covariance.from_json(text),)
    path = Path(text)
    if path.exists():
        return _of_store(text) if path.is_dir() or path.suffix.lower() != ".json" else (_of_file(path),)
    family = re.match(r"\s*([a-z]+\d*)\s*:", text)
    if family is None:
        raise UsageError(f"there is no covariance '{text}'; it is {FORMS}")
    return (_of_words(text),)


def _of_words(text: str) -> Covariance:
    from geonp.kriging.covariance import Covariance

    nugget = 0.0
    structures = []
    for term in re.split(r"\+\s*(?=[a-z])", text.strip()):
        family, _, rest = term.partition(":")
        numbers = {}
        for pair in filter(None, map(str.strip, rest.split(","))):
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals or name not in (*_NUMBERS, "nugget"):
                raise UsageError(
                    f"'{pair}' is no parameter of a covariance; write {', '.join(_NUMBERS)} or nugget, "
                    "each =NUMBER"
                )
            try:
                numbers[name] = float(value)
            except ValueError:
                raise UsageError(f"{name} of a covariance is a number, got '{value}'") from None
        nugget += numbers.pop("nugget", 0.0)
        structures.append(_structure(family.strip(), numbers))
    return Covariance(tuple(structures), nugget)


def _structure(family: str, numbers: dict[str, float]) -> Structure:
    from geonp.kriging.covariance import Structure

    needed = ("sill",) if family == "power" else ("sill", "range")
    missing = [name for name in needed if name not in numbers]
    if missing:
        raise UsageError(
            f"the covariance '{family}' needs {' and '.join(missing)} ({family}:range=500,sill=3)"
        )
    return Structure(
        family,
        numbers["sill"],
        # A power variogram has no range; kriging widens its reach to the survey.
        numbers.get("range", 1.0),
        numbers.get("nu"),
        numbers.get("angle", 0.0),
        numbers.get("ratio", 1.0),
        numbers.get("exponent", 1.0 if family == "power" else None),
    )


def _of_file(path: Path) -> Covariance:
    from geonp.io.paths import check_readable
    from geonp.kriging.covariance import Covariance

    check_readable(path)
    if path.stat().st_size > _LONGEST:
        raise InputError(f"{path}: is {path.stat().st_size} bytes long, too long for a covariance")
    try:
        return Covariance.from_json(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise InputError(f"{path}: is no text; a covariance is {FORMS}") from None
    except UsageError as error:
        raise InputError(f"{path}: {error}") from None


def _of_store(path: str) -> tuple[Covariance, ...]:
    from geonp.kriging.covariance import Covariance

    found = {}
    for name, text in _tags(path).items():
        if band := _TAG.fullmatch(name):
            found[int(band[1] or band[2])] = Covariance.from_json(text)
    if not found:
        raise InputError(f"{path}: its tags hold no covariance; a covariance is {FORMS}")
    return tuple(found[band] for band in sorted(found))


def _tags(path: str) -> dict[str, str]:
    """Return the tags of a raster, or the global attributes of a NetCDF file or Zarr store."""
    from geonp.io.paths import check_readable, reason

    check_readable(path, folder=True)
    if path.rstrip("/").lower().endswith(_ARRAYS):
        import xarray as xr

        try:
            with xr.open_dataset(path, engine="zarr" if Path(path).is_dir() else None) as file:
                return {str(k): str(v) for k, v in file.attrs.items()}
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({reason(error)})") from None
    import rasterio

    try:
        with rasterio.open(path) as file:
            return {str(k): str(v) for k, v in file.tags().items()}
    except rasterio.errors.RasterioError:
        raise InputError(f"{path}: is no raster that can be read; a covariance is {FORMS}") from None
