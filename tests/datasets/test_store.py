"""Fetching: resumed, verified, told by hand; against a server on this machine."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from geonp.datasets import DataSet, RemoteFile, Store

from geonp.errors import InputError, OutputError

from .server import Site, serve

CONTENT = np.random.default_rng(0).bytes(700_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def site() -> Iterator[Site]:
    with serve() as running:
        running.files["/a.bin"] = CONTENT
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def a_set(*files: RemoteFile, **words: str) -> DataSet:
    return DataSet("set", "title", "licence", "citation", "home", files, **words)


def a_file(site: Site, **words: object) -> RemoteFile:
    return RemoteFile("a.bin", (f"{site.address}/a.bin",), **words)


def test_a_file_is_fetched_once(site: Site, store: Store) -> None:
    file = a_file(site, sha256=SHA256, size=len(CONTENT))
    path = store.fetch(a_set(file), file)
    assert path == store.cache / "set" / "a.bin"
    assert path.read_bytes() == CONTENT
    assert store.fetch(a_set(file), file) == path
    assert site.asked == [None]
    assert [p.name for p in path.parent.iterdir()] == ["a.bin"]


def test_a_transfer_that_is_cut_short_goes_on_where_it_stopped(site: Site, store: Store) -> None:
    file = a_file(site, sha256=SHA256)
    site.cut = 300_000
    with pytest.raises(InputError, match=r"ended after 300000 of 700000 bytes; run it again"):
        store.fetch(a_set(file), file)
    assert store.find(a_set(file), file) is None
    assert store.fetch(a_set(file), file).read_bytes() == CONTENT
    assert site.asked == [None, "bytes=300000-"]


def test_a_file_that_changed_in_between_is_fetched_anew(site: Site, store: Store) -> None:
    other = CONTENT[::-1]
    file = a_file(site, sha256=hashlib.sha256(other).hexdigest())
    site.cut = 300_000
    with pytest.raises(InputError):
        store.fetch(a_set(file), file)
    site.files["/a.bin"] = other
    assert store.fetch(a_set(file), file).read_bytes() == other


@pytest.mark.parametrize("have", [300_000, 900_000])
def test_a_server_without_ranges_and_a_part_that_is_too_long(site: Site, store: Store, have: int) -> None:
    file = a_file(site, sha256=SHA256)
    folder = store.cache / "set"
    folder.mkdir(parents=True)
    (folder / ".a.bin.part").write_bytes(b"x" * have)
    (folder / ".a.bin.part.mark").write_text(f'"{hashlib.md5(CONTENT).hexdigest()}"')
    site.ranges = have > len(CONTENT)
    assert store.fetch(a_set(file), file).read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_leaves_nothing(site: Site, store: Store) -> None:
    file = a_file(site, sha256=SHA256)
    site.files["/a.bin"] = b"<html>not here any more</html>"
    with pytest.raises(InputError, match="not the file that was expected"):
        store.fetch(a_set(file), file)
    assert list((store.cache / "set").iterdir()) == []


def test_md5_and_size_are_checked(site: Site, store: Store) -> None:
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert store.fetch(a_set(), a_file(site, md5=md5)).exists()
    with pytest.raises(InputError, match="has 700000 bytes and should have 5"):
        store.fetch(a_set(), a_file(site, md5=md5, size=5))
    (store.cache / "set" / "a.bin").write_bytes(b"tampered")
    with pytest.raises(InputError, match=r"its md5 is .* and should be"):
        store.fetch(a_set(), a_file(site, md5=md5))


def test_the_next_address_is_tried(site: Site, store: Store) -> None:
    file = RemoteFile("a.bin", (f"{site.address}/gone", f"{site.address}/a.bin"), SHA256)
    assert store.fetch(a_set(file), file).read_bytes() == CONTENT


def test_trust_on_first_use(site: Site, store: Store) -> None:
    file = a_file(site)
    path = store.fetch(a_set(file), file)
    assert json.loads((path.parent / "fetched.json").read_text()) == {"a.bin": f"sha256:{SHA256}"}
    path.unlink()
    site.files["/a.bin"] = b"something else"
    with pytest.raises(InputError, match="not the file that was expected"):
        store.fetch(a_set(file), file)


def test_without_a_network_the_message_says_where_to_put_the_file(store: Store) -> None:
    file = RemoteFile("a.bin", ("http://127.0.0.1:9/a.bin",), SHA256)
    with pytest.raises(InputError) as told:
        store.fetch(a_set(file), file)
    assert "get http://127.0.0.1:9/a.bin on another machine" in str(told.value)
    assert f"put it at {store.cache / 'set' / 'a.bin'}" in str(told.value)
    (store.cache / "set" / "a.bin").write_bytes(CONTENT)
    assert store.fetch(a_set(file), file).read_bytes() == CONTENT


def test_what_must_be_fetched_by_hand(store: Store) -> None:
    file = RemoteFile("a.zip", md5=hashlib.md5(CONTENT).hexdigest())
    data = a_set(file, manual="its terms are to be read first")
    with pytest.raises(InputError, match=r"get a\.zip from home \(its terms .* put it at .*a\.zip"):
        store.fetch(data, file)
    place = store.folder(data) / "a.zip"
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT[:5])
    with pytest.raises(InputError, match="its md5 is"):
        store.fetch(data, file)
    place.write_bytes(CONTENT)
    assert store.fetch(data, file) == place


def test_copies_come_first_and_are_never_written(site: Site, tmp_path: Path) -> None:
    copies = tmp_path / "copies" / "there"
    copies.mkdir(parents=True)
    (copies / "b.bin").write_bytes(b"a copy")
    store = Store(tmp_path / "cache", tmp_path / "copies")
    data = a_set(local="there")
    file = replace(a_file(site, sha256=SHA256), local_name="b.bin")
    assert store.fetch(data, file) == copies / "b.bin"
    assert site.asked == []
    assert not store.cache.exists()


def test_a_cache_that_cannot_be_written(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    file = a_file(site)
    with pytest.raises(OutputError, match="GEONP_CACHE"):
        Store(tmp_path / "cache").fetch(a_set(file), file)


def test_the_environment_names_the_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GEONP_CACHE", str(tmp_path / "c"))
    monkeypatch.delenv("GEONP_DATA", raising=False)
    assert Store.default() == Store(tmp_path / "c")
    monkeypatch.setenv("GEONP_DATA", str(tmp_path))
    assert Store.default().copies == tmp_path
