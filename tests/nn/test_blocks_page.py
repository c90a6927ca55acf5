"""The page on encoders and attentions says what the code does."""

from pathlib import Path

import pytest

from geonp.nn.attentions import ATTENTIONS, attention
from geonp.nn.encoders import ENCODERS, encoder
from geonp.nn.imageblock import ImageBlock

PAGE = Path(__file__).parents[2] / "docs" / "blocks.md"
MIB = 1024**2


def rows(columns: int) -> dict[str, list[str]]:
    """The rows of all tables with so many columns that begin with a name, without it."""
    found = {}
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == columns:
            found[cells[0].strip("`")] = cells[1:]
    return found


def block(name: str) -> ImageBlock:
    return encoder(name, 64, 64, 64) if name in ENCODERS else attention(name, 64)


def test_every_block_has_its_rows() -> None:
    names = {*ENCODERS, *ATTENTIONS} - {"none"}
    measured = rows(9)
    assert set(measured) == names
    # Formula, (defaults,) source, and the cost in letters, which is the last table of three columns.
    assert set(rows(4)) == set(ENCODERS)
    assert set(rows(3)) == names


@pytest.mark.parametrize("name", sorted({*ENCODERS, *ATTENTIONS} - {"none"}))
def test_the_measured_table_is_of_this_code(name: str) -> None:
    parameters, flops, counted_flops, size, counted_size, maps, *_ = rows(9)[name]
    cost = block(name).cost(64, 64)
    assert int(parameters.replace(",", "")) == sum(p.numel() for p in block(name).parameters())
    assert float(flops) == pytest.approx(cost.flops / 1e6, rel=1e-4)
    assert float(size) == pytest.approx(cost.bytes / MIB, rel=1e-3)
    assert float(maps) == pytest.approx(cost.maps / MIB, rel=1e-3)
    assert (flops, size) == (counted_flops, counted_size)
