"""Servers and archives that do not mean well."""

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from geonp.datasets import DataSet, RemoteFile, Store
from geonp.datasets.archive import unpack

from geonp.errors import InputError

from .server import serve

SECRET = b"a file of this machine"


@pytest.fixture
def redirecting(tmp_path: Path) -> Iterator[str]:
    """The address of a server that sends everybody on to a file of this machine."""
    secret = tmp_path / "secret.txt"
    secret.write_bytes(SECRET)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", secret.as_uri())
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/a.bin"
    server.shutdown()
    server.server_close()
    thread.join()


def fetched(store: Store, url: str, **known: object) -> Path:
    file = RemoteFile("a.bin", (url,), **known)
    return store.fetch(DataSet("set", "title", "licence", "citation", "home", (file,)), file)


def test_a_redirection_to_a_local_file_is_not_followed(redirecting: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "cache")
    with pytest.raises(InputError, match="cannot be fetched"):
        fetched(store, redirecting, sha256=hashlib.sha256(SECRET).hexdigest())
    assert not any(p.is_file() and p.read_bytes() == SECRET for p in (tmp_path / "cache").rglob("*"))


def test_a_server_that_sends_more_than_the_file_has_is_cut_off(tmp_path: Path) -> None:
    with serve() as site:
        site.files["/a.bin"] = b"0" * 2_000_000
        with pytest.raises(InputError, match="sends more than the 1,000,000 bytes"):
            fetched(Store(tmp_path), f"{site.address}/a.bin", size=1_000_000)
    assert sum(p.stat().st_size for p in tmp_path.rglob("*") if p.is_file()) <= 1_000_100


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", b"x" * 10)
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag of encryption, in the member's header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip: cannot be unpacked .*encrypted"):
        unpack(path)
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
