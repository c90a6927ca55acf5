"""Tables of points in any dialect."""

import numpy as np
import pytest

from geonp.errors import InputError, UsageError
from geonp.io import open_field
from geonp.io.table import Columns, read_table


class TestTables:
    @pytest.mark.parametrize(
        "text",
        [
            "x,y,z\n1,2,3.5\n4,5,6\n",
            "x;y;z\n1;2;3,5\n4;5;6\n",
            "x\ty\tz\n1\t2\t3.5\n4\t5\t6\n",
            "x  y   z\n1 2  3.5\n  4 5 6\n",
            "1,2,3.5\n4,5,6\n",
            "1;2;3,5\n4;5;6",
            "\ufeffx, y, z\r\n1, 2, 3.5\r\n4, 5, 6\r\n",
            '# a survey\n"z","x","y"\n\n3.5,1,2\n# in between\n"6",4,5\n',
            "Easting [m],Northing [m],Elevation [m]\n1,2,3.5\n4,5,6\n",
            "x_km,y_km,value\n1,2,3.5\n4,5,6\n",
            "id,X,Y,Depth\n7,1,2,3.5\n8,4,5,6\n",
            "lat,lon,rain_mm\n2,1,3.5\n5,4,6\n",
        ],
    )
    def test_dialects(self, table, text):
        read = read_table(table(text))
        np.testing.assert_array_equal(read.x, [1, 4])
        np.testing.assert_array_equal(read.y, [2, 5])
        np.testing.assert_array_equal(read.value, [3.5, 6])
        assert read.variance is None
        assert read.geographic == text.startswith("lat")

    @pytest.mark.parametrize(
        ("header", "columns", "variance"),
        [
            ("x,y,z,error", None, 0.25),
            ("x,y,z,precip_sd", Columns(error="precip_sd", value="z"), 0.25),
            ("x,y,z,variance", None, 0.5),
            ("x,y,z,v2", Columns(variance="v2", value="z"), 0.5),
        ],
    )
    def test_errors(self, table, header, columns, variance):
        read = read_table(table(f"{header}\n1,2,3,0.5\n"), columns)
        np.testing.assert_array_equal(read.variance, [variance])
        assert read.name == "z"

    def test_a_fourth_column_without_a_header_is_the_error(self, table):
        np.testing.assert_array_equal(read_table(table("1,2,3,0.5\n")).variance, [0.25])

    def test_named_columns(self, table):
        path = table("ost,nord,zink,blei\n1,2,3,4\n")
        read = read_table(path, Columns(x="ost", y="nord", value="blei"))
        assert (read.x[0], read.y[0], read.value[0], read.name) == (1, 2, 4, "blei")

    @pytest.mark.parametrize("cell", ["", "NA", "nan", "NULL", "-", " n/a "])
    def test_missing_cells(self, table, cell):
        read = read_table(table(f"x,y,z\n1,2,3\n4,5,{cell}\n6,7\n"))
        np.testing.assert_array_equal(read.value, [3, np.nan, np.nan])

    def test_many_lines(self, table):
        rows = np.random.default_rng(0).normal(size=(70_000, 3)).round(3)
        text = "\n".join(",".join(map(str, row)) for row in rows)
        read = read_table(table(f"x,y,z\n{text}\n"))
        np.testing.assert_array_equal(np.stack([read.x, read.y, read.value], 1), rows)
        lines = text.split("\n")
        lines[69_000] = "1,2,oops"
        with pytest.raises(InputError, match="line 69002: 'z' is 'oops'"):
            read_table(table("x,y,z\n" + "\n".join(lines)))

    @pytest.mark.parametrize(
        ("text", "error", "match"),
        [
            ("x,y,z\n1,2,3\n\n4,five,6\n", InputError, "line 4: 'y' is 'five', not a number"),
            ("x,y,z\n", InputError, "a header and no points"),
            ("# nothing\n\n", InputError, "holds no points"),
            ("1,2\n", InputError, "2 columns and no header"),
            ("a,b,z\n1,2,3\n", UsageError, "which columns are x and y"),
            ("x,y,a,b\n1,2,3,4\n", UsageError, r"which column is the value\? .*: a, b$"),
            ("x,y,z,error\n1,2,3,4\n1,2,3,-4\n", InputError, "'error' of point 2 is -4"),
            (b"PK\x03\x04\0\0\0\0", InputError, "is no text"),
        ],
    )
    def test_bad_tables(self, table, text, error, match):
        with pytest.raises(error, match=match) as caught:
            read_table(table(text))
        assert "a.csv" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_column_that_is_not_there(self, table):
        with pytest.raises(UsageError, match="no column 'zinc'; there are: x, y, lead"):
            read_table(table("x,y,lead\n1,2,3\n"), Columns(value="zinc"))

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match="no such file"):
            open_field(tmp_path / "none.csv", res=1)
