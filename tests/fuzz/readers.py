"""Model files, tables and layers of points, damaged, given to their readers in this process."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import shapely

from geonp.io.checkpoint import Checkpoint, Trained, read_checkpoint, write_checkpoint, write_tensors
from geonp.io.points import TABLE_SUFFIXES, grid_points, read_points
from geonp.models import ARCHITECTURES, create, restore, weights

from .mutate import mutate
from .tally import Wrong

DRIVERS = {".geojson": "GeoJSON", ".gpkg": "GPKG", ".fgb": "FlatGeobuf", ".gml": "GML", ".kml": "KML"}
TABLE = "x,y,z,error\n" + "".join(
    f"{500000 + 13 * i % 97},{4e6 + 7 * i % 89},{i / 3:.3f},0.5\n" for i in range(40)
)
TABLES = (
    TABLE,
    TABLE.replace(",", ";").replace(".", ","),
    TABLE.partition("\n")[2].replace(",", " "),
    "lon\tlat\tdepth\n" + "".join(f"{8 + i / 100}\t{47 + i / 90}\t{-i}\n" for i in range(30)),
    "# survey\nE [m],N [m],value\n1,2,3\n4,5,\n7,8,nan\n",
)


def model_files(folder: Path) -> list[bytes]:
    """Return model files to be damaged: a real network, a tiny one, and one without weights."""
    trained = Trained((0.1, 0.2), (16, 16), (30.0, 30.0), (10.0, 90.0), 5, 1.5, -0.3, 1)
    name = min(ARCHITECTURES)
    network = create(name)
    kept = []
    for index, (architecture, tensors) in enumerate(
        (
            (name, weights(network)),
            ("cnp", {"a": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones((), "f4")}),
            ("", {}),
        )
    ):
        path = folder / f"{index}.safetensors"
        write_checkpoint(
            path, Checkpoint(architecture, {"bands": 1}, "{}", 8, trained, tensors), overwrite=True
        )
        kept.append(path.read_bytes())
    return kept


def damaged_model(originals: list[bytes], rng: np.random.Generator, folder: Path) -> bytes:
    """Return a model file that is damaged, or whole, signed and of senseless content."""
    if rng.random() < 0.4:
        return _senseless(rng, folder)
    content = originals[rng.integers(len(originals))]
    if rng.random() < 0.4:
        return _lying(content, rng)
    return mutate(content, rng, head=int.from_bytes(content[:8], "little") + 8)


def _lying(content: bytes, rng: np.random.Generator) -> bytes:
    """Return a file whose header is JSON and lies about shapes, offsets, types and lengths."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    names = [n for n in header if n != "__metadata__"]
    values = (-1, 0, 2**31, 2**40, 2**62, 2**63, 2**64, 1.5, None, "7", [], [2**40, 2**40], {})
    for _ in range(int(rng.integers(1, 3))):
        pick = values[rng.integers(len(values))]
        if names and rng.random() < 0.8:
            entry = header[names[rng.integers(len(names))]]
            if not isinstance(entry, dict):
                continue
            match rng.integers(4):
                case 0:
                    entry["shape"] = [pick] if rng.random() < 0.5 else pick
                case 1:
                    entry["data_offsets"] = [0, pick]
                case 2:
                    entry["dtype"] = ("F64", "I8", "BOOL", "X", 3, "F16")[rng.integers(6)]
                case _:
                    header[f"more{rng.integers(9)}"] = dict(entry)
        elif isinstance(header.get("__metadata__"), dict):
            known = header["__metadata__"]
            known[sorted(known)[rng.integers(len(known))]] = json.dumps(pick)
        else:
            header["__metadata__"] = pick
    text = json.dumps(header).encode()
    stated = len(text) if rng.random() < 0.8 else int(rng.integers(2**20))
    return stated.to_bytes(8, "little") + text + content[8 + length :]


def _senseless(rng: np.random.Generator, folder: Path) -> bytes:
    """Return a file with a valid digest whose metadata nobody could have meant."""
    values = (
        None, -1, 0, 2**70, 1e308, "", "__import__('os')", [], [[]], {}, {"bands": 10**9}, [1, 2], [1.0, 2.0],
        {"bands": 1, "width": 10**12}, "../../etc/passwd", True, {"a": {"b": [None] * 50}},
    )  # fmt: skip
    metadata = sensible(int(rng.integers(len(ARCHITECTURES))))
    for _ in range(int(rng.integers(1, 3))):
        trained = metadata["trained"]
        inside = trained if isinstance(trained, dict) and trained and rng.random() < 0.4 else metadata
        inside[sorted(inside)[rng.integers(len(inside))]] = values[rng.integers(len(values))]
    return signed(metadata, bool(rng.random() < 0.5), folder)


def sensible(number: int) -> dict[str, Any]:
    """Return the metadata of a model file of some architecture."""
    return {
        "architecture": sorted(ARCHITECTURES)[number % len(ARCHITECTURES)], "config": {}, "scaling": "{}",
        "receptive_field": 8, "versions": {}, "trained": {
            "context": [0.1, 0.2], "tile": [8, 8], "spacing": None, "spacing_range": None, "steps": 1,
            "seconds": 1.0, "score": None, "seed": 0,
        },
    }  # fmt: skip


def signed(metadata: dict[str, Any], weights: bool, folder: Path) -> bytes:
    """Return a model file with a valid digest, with a tensor or with none."""
    path = folder / "signed.safetensors"
    tensors = {"a": np.zeros((2, 2), "f4")} if weights else {}
    write_tensors(path, "model", tensors, metadata, overwrite=True)
    return path.read_bytes()


def read_model(content: bytes, folder: Path) -> None:
    """Read a model file and build its network."""
    path = folder / "model.safetensors"
    path.write_bytes(content)
    found = read_checkpoint(path)
    if found.tensors and not all(np.isfinite(t).all() for t in found.tensors.values()):
        raise Wrong("weights that are not finite were accepted")
    restore(found.architecture, found.config, found.tensors)


def damaged_table(rng: np.random.Generator) -> bytes:
    """Return a table of points, damaged."""
    return mutate(TABLES[rng.integers(len(TABLES))].encode(), rng, head=60 if rng.random() < 0.3 else None)


def read_table_of(content: bytes, folder: Path) -> None:
    """Read a table and put its points on a grid."""
    path = folder / ("points" + TABLE_SUFFIXES[len(content) % len(TABLE_SUFFIXES)])
    path.write_bytes(content)
    _gridded(path)


def layers(folder: Path) -> dict[str, bytes]:
    """Return small vector files of points by extension."""
    rng = np.random.default_rng(0)
    at = rng.random((25, 2)) * 1000 + (500_000, 4_000_000)
    shapes = shapely.to_wkb(shapely.points(at))
    out = {}
    for suffix, driver in (
        (".geojson", "GeoJSON"),
        (".gpkg", "GPKG"),
        (".fgb", "FlatGeobuf"),
        (".gml", "GML"),
        (".kml", "KML"),
    ):
        path = folder / f"layer{suffix}"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pyogrio.raw.write(
                path, shapes, [rng.random(25)], ["depth"], geometry_type="Point",
                crs="EPSG:4326" if driver == "KML" else "EPSG:32616", driver=driver,
            )  # fmt: skip
        out[suffix] = path.read_bytes()
    return out


def read_layer(content: bytes, suffix: str, folder: Path) -> None:
    """Read a vector file and put its points on a grid."""
    path = folder / f"points{suffix}"
    path.write_bytes(content)
    _gridded(path)


def _gridded(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        points = read_points(path)
        done = grid_points(points, res=10.0)
        if done.used + done.outside + done.dropped != points.value.size:
            raise Wrong(f"{points.value.size} points became {done}")
        if done.field.size > 10**6:
            return
        values = done.field.to_numpy()
        pixels = int(np.isfinite(values).sum())
        if pixels > done.used or (
            done.used and pixels == 0 and np.abs(points.value[np.isfinite(points.value)]).min() < 3e38
        ):
            raise Wrong(f"{done.used} points fill {pixels} pixels")


READ: dict[str, Callable[[bytes, Path], None]] = {"model": read_model, "table": read_table_of}
