"""Archives of others: only plain files, only inside their own folder, and no more than expected."""

import gzip
import io
import stat
import zipfile
from pathlib import Path

import pytest
from geonp.datasets.archive import unpack

from geonp.errors import InputError


def zipped(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_zip_is_unpacked_once(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", **{"train/x.txt": b"one", "test/y.txt": b"two"})
    folder = unpack(path)
    assert (folder / "train" / "x.txt").read_bytes() == b"one"
    (folder / "mark").touch()
    assert unpack(path) == folder
    assert (folder / "mark").exists()


def test_gzip(tmp_path: Path) -> None:
    path = tmp_path / "N46E008.hgt.gz"
    path.write_bytes(gzip.compress(b"elevation"))
    assert unpack(path).name == "N46E008.hgt"
    assert unpack(path).read_bytes() == b"elevation"


@pytest.mark.parametrize(
    "name", ["../out.txt", "/etc/out.txt", "a/../../out.txt", "..\\out.txt", "C:\\out.txt"]
)
def test_members_that_would_lie_outside(tmp_path: Path, name: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = zipped(inner / "a.zip", **{"fine.txt": b"", name: b"bad"})
    with pytest.raises(InputError, match="would lie outside"):
        unpack(path)
    assert [p.name for p in inner.iterdir()] == ["a.zip"]
    assert [p.name for p in tmp_path.iterdir()] == ["inner"]


def test_links(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match="or is a link"):
        unpack(path)


def test_bombs(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(b"0" * 5_000_000))
    with pytest.raises(InputError, match="unpacks to more than it may"):
        unpack(bomb, most=1_000_000)
    with pytest.raises(InputError, match="unpacks to more than it may"):
        unpack(zipped(tmp_path / "b.zip", one=b"0" * 600, two=b"0" * 600), most=1000)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.zip", "bomb.gz"]


@pytest.mark.parametrize("name", ["a.zip", "a.gz"])
def test_damaged(tmp_path: Path, name: str) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("x", b"x" * 1000)
    content = whole.getvalue() if name.endswith("zip") else gzip.compress(bytes(range(256)) * 50)
    path = tmp_path / name
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or cut short"):
        unpack(path)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_other_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(b"")
    with pytest.raises(InputError, match=r"neither a \.gz nor a \.zip"):
        unpack(tmp_path / "a.tar")
