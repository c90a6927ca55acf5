"""R's files, written here item by item as "R Internals" (section 1.8) describes them."""

import bz2
import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from geonp.datasets import Store
from geonp.datasets.heaton import load_heaton
from geonp.datasets.rdata import read_frame

from geonp.errors import InputError

NIL = struct.pack(">i", 254)


def chars(text: str) -> bytes:
    return struct.pack(">ii", 9, len(text)) + text.encode()


def symbol(text: str) -> bytes:
    return struct.pack(">i", 1) + chars(text)


def strings(*texts: str) -> bytes:
    return struct.pack(">ii", 16, len(texts)) + b"".join(map(chars, texts))


def reals(*values: float) -> bytes:
    return struct.pack(f">ii{len(values)}d", 14, len(values), *values)


def integers(*values: int) -> bytes:
    return struct.pack(f">ii{len(values)}i", 13, len(values), *values)


def pairs(**items: bytes) -> bytes:
    return b"".join(struct.pack(">i", 2 | 1 << 10) + symbol(k) + v for k, v in items.items()) + NIL


def compact(count: int, first: int) -> bytes:
    """Row names as newer versions of R write them: a run of integers, never spelled out."""
    info = struct.pack(">i", 2) + symbol("compact_intseq") + struct.pack(">i", 2) + symbol("base") + NIL
    return struct.pack(">i", 238) + info + reals(count, first, 1) + NIL


def frame(columns: dict[str, bytes], rows: bytes) -> bytes:
    attributes = pairs(**{"names": strings(*columns), "row.names": rows, "class": strings("data.frame")})
    return struct.pack(">ii", 19 | 1 << 8 | 1 << 9, len(columns)) + b"".join(columns.values()) + attributes


def file_of(version: int = 2, **objects: bytes) -> bytes:
    head = b"RDX%d\nX\n" % version + struct.pack(">iii", version, 0x030500, 0x020300)
    if version == 3:
        head += struct.pack(">i", 5) + b"UTF-8"
    return head + pairs(**objects)


COLUMNS = {"x": reals(1.5, -2.0, np.nan), "n": integers(7, -(2**31), 9), "s": strings("a", "b", "c")}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, bytes])
@pytest.mark.parametrize("version", [2, 3])
def test_a_data_frame(tmp_path: Path, pack: type, version: int) -> None:
    rows = integers(1, 2, 3) if version == 2 else compact(3, 1)
    path = tmp_path / "a.RData"
    path.write_bytes(pack(file_of(version, other=reals(1), df=frame(COLUMNS, rows))))
    found = read_frame(path, "df")
    assert list(found) == ["x", "n"]
    np.testing.assert_array_equal(found["x"], [1.5, -2, np.nan])
    np.testing.assert_array_equal(found["n"], [7, np.nan, 9])  # R's NA of integers


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RDA2\nA\n2\n",
        file_of(df=frame(COLUMNS, integers(1)))[:-40],
        file_of(df=struct.pack(">i", 6) + NIL),  # a call
        file_of(df=struct.pack(">ii", 14, -5)),
    ],
)
def test_what_is_no_data_frame_of_r(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.RData"
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read as a file of R data"):
        read_frame(path, "df")


def test_a_file_without_that_data_frame(tmp_path: Path) -> None:
    path = tmp_path / "a.RData"
    path.write_bytes(file_of(a=reals(1), b=reals(2)))
    with pytest.raises(InputError, match="holds a, b, and no data frame df"):
        read_frame(path, "df")


def test_the_competitions_own_file(tmp_path: Path) -> None:
    lon, lat = (10.0, 11.0, 10.0, 11.0), (50.0, 50.0, 51.0, 51.0)
    columns = {
        "Lon": reals(*lon),
        "Lat": reals(*lat),
        "MaskTemp": reals(1, np.nan, 3, 4),
        "TrueTemp": reals(1, 2, 3, 4),
    }
    path = tmp_path / "heaton" / "AllSimulatedTemps.RData"
    path.parent.mkdir()
    path.write_bytes(gzip.compress(file_of(**{"all.sim.data": frame(columns, integers(-4))})))
    found = load_heaton(Store(tmp_path))
    np.testing.assert_array_equal(found.truth, [[3, 4], [1, 2]])  # north first
    np.testing.assert_array_equal(found.seen, [[3, 4], [1, np.nan]])
