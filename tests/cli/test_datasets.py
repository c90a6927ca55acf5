"""`geonp datasets` as typed."""

import hashlib
import json
from pathlib import Path

import pytest
from geonp.datasets import data_set, data_sets

from tests.cli.conftest import Geonp
from tests.datasets.server import serve


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GEONP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GEONP_DATA", raising=False)
    return tmp_path / "cache"


def point_to(monkeypatch: pytest.MonkeyPatch, name: str, **files: object) -> None:
    """Give a data set files on this machine's server, for one test."""
    from dataclasses import replace

    data = data_set(name)
    changed = {**data_sets(), name: replace(data, files=tuple(replace(f, **files) for f in data.files))}
    monkeypatch.setattr("geonp.datasets.registry.data_sets", lambda: changed)


def test_list_names_licence_source_and_place(geonp: Geonp, cache: Path) -> None:
    shown = geonp("datasets", "list")
    assert shown.exit_code == 0
    for text in ("fashion-mnist  [not here]", "celeba  [by hand]", "CC BY-SA 3.0", f"cache: {cache}"):
        assert text in shown.stdout
    content = json.loads(geonp("datasets", "list", "--json").stdout)
    assert [entry["name"] for entry in content["datasets"]] == list(data_sets())
    (mnist,) = (entry for entry in content["datasets"] if entry["name"] == "mnist")
    assert mnist["files"][0]["hash"].startswith("sha256:")


def test_fetch_path_and_list_again(geonp: Geonp, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"an archive"
    with serve() as site:
        site.files["/e.zip"] = content
        md5 = hashlib.md5(content).hexdigest()
        point_to(monkeypatch, "eurosat", urls=(f"{site.address}/e.zip",), md5=md5)
        fetched = geonp("datasets", "fetch", "eurosat")
    assert fetched.exit_code == 0
    assert fetched.stdout.strip() == str(cache / "eurosat" / "EuroSAT.zip")
    assert "licence: MIT" in fetched.stderr
    assert geonp("datasets", "path", "eurosat").stdout.strip() == str(cache / "eurosat")


def test_a_tile_without_a_published_hash(geonp: Geonp, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve() as site:
        site.files["/N46/N46E008.hgt.gz"] = b"heights"
        point_to(monkeypatch, "srtm", urls=(site.address + "/{band}/{tile}.hgt.gz",))
        fetched = geonp("datasets", "fetch", "srtm", "--tile", "N46E008")
    assert fetched.exit_code == 0
    assert "no checksum is published" in fetched.stderr
    assert (cache / "srtm" / "N46E008.hgt.gz").read_bytes() == b"heights"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["fetch", "fashion_mnist"], 2, "did you mean fashion-mnist"),
        (["fetch", "mnist", "--tile", "N46E008"], 2, "not made of tiles"),
        (["fetch", "srtm", "--tile", "Alps"], 2, "such as N46E008"),
        (["fetch", "celeba"], 1, "put it at"),
        (["fetch", "dem"], 1, "GEONP_DATA"),
        (["path", "nothing"], 2, "there is no data set"),
        (["fetch"], 2, "Missing argument"),
    ],
)
def test_mistakes_are_answered(geonp: Geonp, cache: Path, words: list[str], code: int, said: str) -> None:
    result = geonp("datasets", *words)
    assert result.exit_code == code
    assert said in result.stderr
    assert not list(cache.rglob("*.part"))


def test_path_of_what_is_not_there_yet(geonp: Geonp, cache: Path) -> None:
    result = geonp("datasets", "path", "celeba")
    assert result.stdout.strip() == str(cache / "celeba")
    assert "not there yet: img_align_celeba.zip, list_eval_partition.txt" in result.stderr
