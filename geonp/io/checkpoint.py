"""Model files: one safetensors file, what a network is in its metadata; nothing is ever unpickled.

Format: https://huggingface.co/docs/safetensors (an 8-byte length, a JSON header, raw tensors). Every metadata
value is JSON text, since the format allows strings alone. A tensor whose every number float16 holds exactly is
stored as float16, in half the bytes, and read as float32.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import deserialize

from geonp.errors import ModelError
from geonp.io.outputs import Staging, told_of_failure
from geonp.io.paths import reason

Tensors = dict[str, NDArray[np.float32]]

FORMAT = 1
LARGEST_FILE = 2 << 30
_LARGEST_HEADER = 4 << 20
_KIND, _DIGEST = "geonp", "sha256"
_MODEL = "model"
_TYPES = {"F16": "<f2", "F32": "<f4"}


@dataclass(frozen=True)
class Trained:
    """What a network was trained on, and how well it did.

    Parameters
    ----------
    context : smallest and largest fraction of a tile that was seen.
    tile : rows and columns of the tiles.
    spacing : median pixel size (dy, dx) of the tiles, in metres; None where none had a CRS.
    spacing_range : smallest and largest pixel size met, in metres; None where none had a CRS.
    steps : optimisation steps.
    seconds : time they took.
    score : best validation loss, in nats per pixel; None where nothing was validated.
    seed : of batches and weights.
    covariates : names of the rasters that the network reads beside the observations, in order; empty where it reads
        none, or nobody named them.
    """

    context: tuple[float, float]
    tile: tuple[int, int]
    spacing: tuple[float, float] | None = None
    spacing_range: tuple[float, float] | None = None
    steps: int = 0
    seconds: float = 0.0
    score: float | None = None
    seed: int = 0
    covariates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Checkpoint:
    """A trained network as data.

    Parameters
    ----------
    architecture : its name.
    config : its settings, JSON values by name.
    scaling : how fields are normalised, as text (`geonp.scaling.dumps`).
    receptive_field : pixels around a pixel that can influence it; None where the whole canvas does.
    trained : what it was trained on.
    tensors : weights by name, float32.
    versions : packages it was written with.
    """

    architecture: str
    config: Mapping[str, Any]
    scaling: str
    receptive_field: int | None
    trained: Trained
    tensors: Tensors = field(repr=False)
    versions: Mapping[str, str] = field(default_factory=lambda: package_versions())

    @property
    def digest(self) -> str:
        """SHA-256 of weights and metadata, hexadecimal: the model's identity in the tags of its outputs."""
        return _digest(self.tensors, _metadata(self))


def write_checkpoint(path: str | Path, checkpoint: Checkpoint, *, overwrite: bool = False) -> None:
    """Write a model file, whole or not at all.

    Raises
    ------
    OutputError
        If the file exists (unless `overwrite`) or cannot be written.
    """
    write_tensors(path, _MODEL, checkpoint.tensors, _metadata(checkpoint), overwrite=overwrite)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a model file.

    Raises
    ------
    ModelError
        If the file is missing, not one of ours, of a newer format, truncated, altered, or absurdly large.
    """
    tensors, metadata = read_tensors(path, _MODEL)
    odd = sorted(metadata.keys() ^ {f.name for f in fields(Checkpoint) if f.name != "tensors"})
    if odd:
        state = "unknown" if odd[0] in metadata else "missing"
        raise _damaged(path, f"the entry {odd[0]!r} of its metadata is {state}")
    reach = metadata["receptive_field"]
    try:
        return Checkpoint(
            architecture=_expect(str, metadata["architecture"]),
            config=_expect(dict, metadata["config"]),
            scaling=_expect(str, metadata["scaling"]),
            receptive_field=None if reach is None else _expect(int, reach),
            trained=_trained(_expect(dict, metadata["trained"])),
            tensors=tensors,
            versions={str(k): str(v) for k, v in _expect(dict, metadata["versions"]).items()},
        )
    except (TypeError, ValueError) as error:
        raise _damaged(path, f"its metadata does not make sense ({error})") from error


def write_tensors(
    path: str | Path,
    kind: str,
    tensors: Mapping[str, NDArray[np.float32]],
    metadata: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write named float32 arrays and JSON metadata as one safetensors file, whole or not at all.

    Parameters
    ----------
    path : file to write.
    kind : what the file is; `read_tensors` asks for it again.
    tensors : arrays by name.
    metadata : JSON values by name.
    overwrite : whether a file that exists may be replaced.

    Raises
    ------
    OutputError
        If the file exists or cannot be written.
    """
    text = {key: json.dumps(value) for key, value in metadata.items()}
    text |= {_KIND: json.dumps([kind, FORMAT]), _DIGEST: _digest(tensors, metadata)}
    with Staging([path], overwrite=overwrite) as staging:
        with told_of_failure(path, (OSError,)), staging.temporary(path).open("wb") as stream:
            stream.writelines(_serialise(tensors, text))
        staging.commit()


def read_tensors(path: str | Path, kind: str) -> tuple[Tensors, dict[str, Any]]:
    """Read what `write_tensors` wrote: arrays and metadata, checked against their digest.

    The file's size, header and tensor table are checked before anything of their size is allocated.

    Raises
    ------
    ModelError
        If the file is missing, of another kind, of a newer format, truncated, altered, or absurdly large.
    """
    path = Path(path)
    try:
        if not path.is_file():
            what = "is a directory" if path.is_dir() else "does not exist"
            raise ModelError(f"{path} {what}; give a model file written by 'geonp fit'")
        if path.stat().st_size > LARGEST_FILE:
            size = path.stat().st_size
            raise ModelError(f"{path} has {size:,} bytes; a model file has at most {LARGEST_FILE:,}")
        with path.open("rb") as stream:
            header = _header(path, stream.read(8 + _LARGEST_HEADER))
            metadata = _text(path, header, kind)
            stream.seek(0)
            content = stream.read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({reason(error)}); check its permissions") from error
    try:
        table = deserialize(content)
    except SafetensorError as error:
        raise _damaged(path, "it is truncated or its tensor table is wrong") from error
    tensors: Tensors = {}
    for name, entry in table:
        if entry["dtype"] not in _TYPES:
            raise _damaged(path, f"tensor {name!r} has type {entry['dtype']}, expected {' or '.join(_TYPES)}")
        numbers = np.frombuffer(entry["data"], _TYPES[entry["dtype"]])
        tensors[name] = numbers.astype(np.float32).reshape(entry["shape"])
        if not np.isfinite(tensors[name]).all():
            raise _damaged(path, f"tensor {name!r} has values that are not finite")
    if _digest(tensors, metadata) != header[_DIGEST]:
        raise _damaged(path, "its content does not match its digest")
    return tensors, metadata


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that a network's numbers depend on."""
    found = {}
    for name in ("geonp", "torch", "numpy", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # a source tree that was never installed
            found[name] = "unknown"
    return found


def _serialise(tensors: Mapping[str, NDArray[np.float32]], text: Mapping[str, str]) -> Iterator[bytes]:
    """Yield a safetensors file. The library's own writer orders metadata by chance: never the same bytes."""
    header: dict[str, Any] = {"__metadata__": dict(sorted(text.items()))}
    types = {name: _type_of(tensors[name]) for name in sorted(tensors)}
    end = 0
    for name, kind in types.items():
        start, end = end, end + np.dtype(_TYPES[kind]).itemsize * tensors[name].size
        header[name] = {"dtype": kind, "shape": tensors[name].shape, "data_offsets": [start, end]}
    content = json.dumps(header, separators=(",", ":")).encode()
    content += b" " * (-len(content) % 8)
    yield len(content).to_bytes(8, "little")
    yield content
    for name, kind in types.items():
        yield tensors[name].astype(_TYPES[kind]).tobytes()


def _type_of(tensor: NDArray[np.float32]) -> str:
    """Return the smallest type that holds every number exactly."""
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return "F16" if np.array_equal(half, tensor) else "F32"


def _header(path: Path, start: bytes) -> dict[str, str]:
    """Return the metadata strings of a safetensors file from its first bytes."""
    length = int.from_bytes(start[:8], "little")
    if len(start) < 8 or not 2 <= length <= _LARGEST_HEADER or start[8:9] != b"{":
        raise ModelError(f"{path} is not a geonp model; give a file written by 'geonp fit'")
    if len(start) < 8 + length:
        raise _damaged(path, "it is truncated")
    try:
        header = json.loads(start[8 : 8 + length]).get("__metadata__") or {}
        ours = _KIND in header and all(isinstance(v, str) for v in header.values())
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise _damaged(path, "its header is not JSON") from error
    if not ours or _DIGEST not in header:
        raise ModelError(f"{path} was not written by geonp; give a file written by 'geonp fit'")
    return dict(header)


def _text(path: Path, header: Mapping[str, str], kind: str) -> dict[str, Any]:
    """Return the metadata values, once the file is known to be of `kind` and of a known format."""
    try:
        values = {key: json.loads(text) for key, text in header.items() if key != _DIGEST}
        found, written = values.pop(_KIND)
    except (ValueError, TypeError, RecursionError) as error:
        raise _damaged(path, "its metadata is not JSON") from error
    if found != kind:
        raise ModelError(f"{path} is a geonp {found} file; a {kind} file is needed")
    if written != FORMAT:
        raise ModelError(f"{path} has format {written}; this version reads {FORMAT}: update geonp")
    return values


def _digest(tensors: Mapping[str, NDArray[np.float32]], metadata: Mapping[str, Any]) -> str:
    total = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    for name in sorted(tensors):
        total.update(json.dumps([name, tensors[name].shape]).encode())
        total.update(tensors[name].astype("<f4").tobytes())
    return total.hexdigest()


def _metadata(checkpoint: Checkpoint) -> dict[str, Any]:
    values = {f.name: getattr(checkpoint, f.name) for f in fields(checkpoint) if f.name != "tensors"}
    # Through JSON and back, so that tuples hash as the lists they are read as.
    plain: dict[str, Any] = json.loads(json.dumps(values | {"trained": asdict(checkpoint.trained)}))
    if not checkpoint.trained.covariates:  # as it was written before there were any: files keep their digest
        del plain["trained"]["covariates"]
    return plain


def _trained(values: Mapping[str, Any]) -> Trained:
    odd = (values.keys() | {"covariates"}) ^ {f.name for f in fields(Trained)}
    if odd:
        raise ValueError(f"entry {min(odd)!r} of the training summary")

    def pair(kind: type, value: Any) -> Any:
        low, high = _expect(list, value)
        return _expect(kind, low), _expect(kind, high)

    return Trained(
        context=pair(float, values["context"]),
        tile=pair(int, values["tile"]),
        spacing=None if values["spacing"] is None else pair(float, values["spacing"]),
        spacing_range=None if values["spacing_range"] is None else pair(float, values["spacing_range"]),
        steps=_expect(int, values["steps"]),
        seconds=_expect(float, values["seconds"]),
        score=None if values["score"] is None else _expect(float, values["score"]),
        seed=_expect(int, values["seed"]),
        covariates=tuple(_expect(str, name) for name in _expect(list, values.get("covariates", []))),
    )


def _expect(kind: type, value: Any) -> Any:
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        raise TypeError(f"{value!r} is not a {kind.__name__}")
    return value


def _damaged(path: str | Path, what: str) -> ModelError:
    return ModelError(f"{path} is damaged: {what}; fetch or train it again")
