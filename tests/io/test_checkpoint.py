"""Model files: what goes in comes out, and nothing else is let in."""

import json
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from geonp.errors import ModelError, OutputError
from geonp.io import checkpoint as module
from geonp.io.checkpoint import (
    Checkpoint,
    Trained,
    read_checkpoint,
    read_tensors,
    write_checkpoint,
    write_tensors,
)


def some(**changes: object) -> Checkpoint:
    rng = np.random.default_rng(0)
    tensors = {
        "layer.weight": rng.normal(size=(4, 3, 2)).astype("f4"),
        "layer.bias": rng.normal(size=4).astype("f4"),
        "step": np.array(3, "f4"),
        "nothing": np.zeros((0, 2), "f4"),
    }
    trained = Trained((0.1, 0.3), (32, 48), (30.0, 20.0), (10.0, 90.0), 120, 60.5, -0.25, 7)
    made = Checkpoint("ifanp", {"bands": 1, "noise": None}, '{"kind": "standardise"}', None, trained, tensors)
    return replace(made, **changes)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, some())
    return path


def split(path: Path) -> tuple[dict[str, object], bytes]:
    """Return header and tensor bytes of a safetensors file."""
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put(path: Path, header: object, rest: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + rest)


def metadata(path: Path, **changes: object) -> None:
    """Change metadata values, and leave the digest as it was."""
    header, rest = split(path)
    header["__metadata__"].update({k: v if isinstance(v, str) else json.dumps(v) for k, v in changes.items()})
    put(path, header, rest)


def resign(path: Path, **changes: object) -> None:
    """Change metadata as somebody would who knows how the digest is made."""
    tensors, values = read_tensors(path, "model")
    for key, value in changes.items():
        values.pop(key) if value is ... else values.update({key: value})
    write_tensors(path, "model", tensors, values, overwrite=True)


def test_a_checkpoint_comes_back_as_it_was(file: Path) -> None:
    again, made = read_checkpoint(file), some()
    for name in ("architecture", "config", "scaling", "receptive_field", "trained", "versions", "digest"):
        assert getattr(again, name) == getattr(made, name)
    assert again.tensors.keys() == made.tensors.keys()
    for key, value in made.tensors.items():
        assert again.tensors[key].dtype == np.float32
        assert again.tensors[key].shape == value.shape
        assert again.tensors[key].tobytes() == value.tobytes()
        assert again.tensors[key].flags.writeable
    assert set(again.versions) == {"geonp", "torch", "numpy", "safetensors"}


def test_unknown_spacing_and_score_come_back_too(tmp_path: Path) -> None:
    bare = some(trained=Trained((0.5, 0.5), (8, 8)), receptive_field=12)
    write_checkpoint(tmp_path / "m", bare)
    assert read_checkpoint(tmp_path / "m").trained == bare.trained
    assert read_checkpoint(tmp_path / "m").receptive_field == 12


def test_the_same_checkpoint_is_the_same_bytes(file: Path, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "again", read_checkpoint(file))
    assert file.read_bytes() == (tmp_path / "again").read_bytes()


def test_the_digest_tells_weights_and_settings_apart() -> None:
    made = some()
    other = {**made.tensors, "layer.bias": made.tensors["layer.bias"] + np.float32(1e-6)}
    digests = {made.digest, some(tensors=other).digest, some(architecture="ifnp").digest}
    assert len(digests) == 3
    assert some().digest == made.digest


def test_the_library_of_the_format_reads_it(file: Path) -> None:
    made = some()
    for key, value in load_file(file).items():
        np.testing.assert_array_equal(value, made.tensors[key])
    with safe_open(file, "numpy") as opened:
        assert json.loads(opened.metadata()["architecture"]) == "ifanp"


def test_the_order_of_axes_in_memory_does_not_matter(tmp_path: Path) -> None:
    made = some()
    turned = {k: np.array(v, order="F") for k, v in made.tensors.items()}
    write_checkpoint(tmp_path / "m", some(tensors=turned))
    assert read_checkpoint(tmp_path / "m").digest == made.digest


def test_an_existing_file_is_kept_unless_told(file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(OutputError, match="exists"):
        write_checkpoint(file, some(architecture="ifnp"))
    assert file.read_bytes() == before
    write_checkpoint(file, some(architecture="ifnp"), overwrite=True)
    assert read_checkpoint(file).architecture == "ifnp"
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> Iterator[bytes]:
        yield b"12345678"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "_serialise", full)
    with pytest.raises(OutputError, match="No space left"):
        write_checkpoint(tmp_path / "m", some())
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="no folder"):
        write_checkpoint(tmp_path / "none" / "m", some())


def test_others_may_read_what_was_written(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_checkpoint(tmp_path / "m", some())
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o644


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"m does not exist; give a model file"):
        read_checkpoint(tmp_path / "m")
    with pytest.raises(ModelError, match="is a directory"):
        read_checkpoint(tmp_path)


def test_files_of_others_are_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (os.system, (f"touch {tmp_path / 'ran'}",))

    with zipfile.ZipFile(tmp_path / "torch.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Evil()))
    (tmp_path / "pickle").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text").write_text("a model? no")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "short").write_bytes(b"\x01\x02")
    (tmp_path / "zeros").write_bytes(bytes(64))
    save_file({"w": np.zeros(3, "f4")}, tmp_path / "bare")
    save_file({"w": np.zeros(3, "f4")}, tmp_path / "others", {"format": "pt"})
    for path in list(tmp_path.iterdir()):
        with pytest.raises(ModelError, match=r"not a geonp model|not written by geonp"):
            read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_every_truncation_is_noticed(file: Path) -> None:
    content = file.read_bytes()
    for length in [*range(0, len(content), 37), len(content) - 1]:
        file.write_bytes(content[:length])
        with pytest.raises(ModelError):
            read_checkpoint(file)
    file.write_bytes(content + b"\0")
    with pytest.raises(ModelError, match="damaged"):
        read_checkpoint(file)


@given(st.data())
def test_every_changed_byte_is_noticed(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped"
    write_checkpoint(path, some(), overwrite=True)
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        got = read_checkpoint(path)
    except ModelError:
        return
    assert got.digest == some().digest  # white space in the header and the like


def test_tampered_weights_and_settings_are_refused(file: Path) -> None:
    header, rest = split(file)
    put(file, header, bytes([rest[0] ^ 1]) + rest[1:])
    with pytest.raises(ModelError, match="digest"):
        read_checkpoint(file)
    put(file, header, rest)
    metadata(file, scaling=json.dumps("other"))
    with pytest.raises(ModelError, match="digest"):
        read_checkpoint(file)


def test_a_newer_format_says_so(file: Path) -> None:
    metadata(file, geonp=["model", 2])
    with pytest.raises(ModelError, match="has format 2; this version reads 1: update geonp"):
        read_checkpoint(file)


def test_metadata_that_is_not_json(file: Path) -> None:
    metadata(file, config="{")
    with pytest.raises(ModelError, match="metadata is not JSON"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config": ...}, "'config' of its metadata is missing"),
        ({"extra": 1}, "'extra' of its metadata is unknown"),
        ({"architecture": 5}, "5 is not a str"),
        ({"config": []}, "is not a dict"),
        ({"receptive_field": "wide"}, "is not a int"),
        ({"receptive_field": True}, "is not a int"),
        ({"trained": {}}, "training summary"),
        ({"trained": {**module.asdict(some().trained), "context": [0.1]}}, "make sense"),
        ({"trained": {**module.asdict(some().trained), "tile": [8.5, 8]}}, "8.5 is not a int"),
        ({"trained": {**module.asdict(some().trained), "score": "good"}}, "is not a float"),
        ({"trained": {**module.asdict(some().trained), "odd": 1}}, "'odd'"),
        ({"versions": None}, "is not a dict"),
    ],
)
def test_metadata_of_the_wrong_form_is_refused(file: Path, changes: dict[str, object], message: str) -> None:
    resign(file, **changes)
    with pytest.raises(ModelError, match=message):
        read_checkpoint(file)


def test_weights_of_other_types_and_not_finite_ones_are_refused(file: Path) -> None:
    header, rest = split(file)
    header["layer.bias"]["dtype"] = "I32"
    put(file, header, rest)
    with pytest.raises(ModelError, match="has type I32, expected F16 or F32"):
        read_checkpoint(file)
    tensors = some().tensors
    write_checkpoint(
        file, some(tensors={**tensors, "layer.bias": tensors["layer.bias"] * np.nan}), overwrite=True
    )
    with pytest.raises(ModelError, match="not finite"):
        read_checkpoint(file)


def test_sizes_are_checked_before_memory_is_taken(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header, rest = split(file)
    header["layer.bias"] = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    put(file, header, rest)
    with pytest.raises(ModelError, match="truncated or its tensor table"):
        read_checkpoint(file)
    file.write_bytes(struct.pack("<Q", 2**62) + b"{" + bytes(100))
    with pytest.raises(ModelError, match="not a geonp model"):
        read_checkpoint(file)
    monkeypatch.setattr(module, "LARGEST_FILE", 50)
    with pytest.raises(ModelError, match="109 bytes; a model file has at most 50"):
        read_checkpoint(file)


def test_a_header_nested_too_deeply_is_refused(file: Path) -> None:
    text = b'{"__metadata__": ' + b"[" * 200_000
    file.write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(ModelError, match="not JSON"):
        read_checkpoint(file)


def test_a_checkpoint_is_read_without_torch(file: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from geonp.io.checkpoint import read_checkpoint; "
        f"read_checkpoint({str(file)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_float16_holds_exactly_takes_half_the_bytes(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    halves = rng.normal(size=(100, 50)).astype(np.float16).astype(np.float32)
    exact, other = {"w": halves, "v": halves[0]}, {"w": halves + np.float32(1e-5), "v": halves[0]}
    sizes = []
    for name, tensors in (("exact", exact), ("other", other)):
        path = tmp_path / f"{name}.safetensors"
        kept = replace(some(), tensors=tensors)
        write_checkpoint(path, kept)
        read = read_checkpoint(path)
        assert read.digest == kept.digest
        for key, values in tensors.items():
            assert read.tensors[key].dtype == np.float32
            np.testing.assert_array_equal(read.tensors[key], values)
        sizes.append(path.stat().st_size)
    assert sizes[1] - sizes[0] == 2 * halves.size


def test_numbers_too_large_for_float16_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    write_checkpoint(path, replace(some(), tensors={"w": np.array([1e5, 1.0], np.float32)}))
    np.testing.assert_array_equal(read_checkpoint(path).tensors["w"], [1e5, 1.0])
