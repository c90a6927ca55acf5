"""What a run takes of memory, and the windows that fit: estimated before any pixel is completed."""

from __future__ import annotations

from dataclasses import dataclass

from geonp.errors import UsageError
from geonp.heap import give_back
from geonp.machine import free_memory, used_memory
from geonp.methods.base import Method

LEAST = 1 << 20
"""Bytes below which no budget makes sense."""

_SIDES = (2048, 1536, 1024, 896, 768, 512, 256, 128)
"""Windows tried, largest first: multiples of the outputs' blocks of 256 as far as they go, and 896, with which a few
blocks are written twice: where 1024 is just too large, the network takes a sixth less than with 768."""
_USUAL = 1024
_MOST = 1_500_000_000
_WORTHWHILE = 1.2
_BYTES_READ, _BYTES_A_LAYER, _BYTES_BLENDED = 20, 40, 50


@dataclass(frozen=True, slots=True)
class Budget:
    """How much memory a run may take.

    Parameters
    ----------
    total : bytes, the program itself included.
    stated : whether somebody asked for it; otherwise it is what is reasonable here, and never a reason to refuse.
    """

    total: int
    stated: bool

    @classmethod
    def of(cls, stated: int | None) -> Budget:
        """Return the budget that was stated in bytes, or beside the program a quarter of what is free, 1.5 GB at most.

        Raises
        ------
        UsageError
            If it is less than a mebibyte.
        """
        if stated is None:
            return cls(used_memory() + min(free_memory() // 4, _MOST), False)
        if stated < LEAST:
            raise UsageError(
                f"{stated} bytes of memory are too few; give at least {LEAST} (1 MiB), such as 2G"
            )
        return cls(stated, True)

    @property
    def share(self) -> int:
        """Bytes that systems solved together may take: a quarter."""
        return max(self.total // 4, LEAST)

    @property
    def blocks(self) -> int:
        """Bytes of blocks of files that GDAL may keep: a sixteenth, and no more than 128 MB."""
        return min(self.total // 16, 128 << 20)


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be done to a raster, as far as its memory goes.

    Parameters
    ----------
    method : prepared; None where nothing is computed.
    shape : rows and columns of the raster.
    bands : of it.
    """

    method: Method | None
    shape: tuple[int, int]
    bands: int

    def bytes_needed(self, tile: int) -> int:
        """Return the memory in bytes, beside the program, of windows of `tile` pixels a side at their peak.

        Figures a pixel were measured on terrain, an eighth observed, as the growth of resident memory.
        """
        halo, feather = (0, 0) if self.method is None else (self.method.halo, self.method.feather)
        wanted, given = self._pixels(tile + 2 * feather), self._pixels(tile + 2 * (halo + feather))
        kept = self.bands * (_BYTES_READ * given + _BYTES_A_LAYER * wanted)
        if feather and max(self.shape) > tile:
            kept += _BYTES_BLENDED * self.bands * self.shape[1] * min(tile + 2 * feather, self.shape[0])
        return kept + self._computing(tile, given)

    def choose(self, budget: Budget, tile: int | None = None) -> int:
        """Return the side of the windows: `tile` if it was given, else the best that the budget allows.

        It is no less than the method's grain: windows of a pixel would each cost what a tile costs.

        Windows are larger than usual where much of the work is done for the pixels around them, and smaller
        where the budget is.

        Raises
        ------
        UsageError
            If a budget was stated and is exceeded.
        """
        grain = 1 if self.method is None else self.method.grain
        sides = (max(tile, grain),) if tile else self._sides()
        fits = budget.total - used_memory() - budget.blocks
        if self.bytes_needed(sides[0]) > fits:
            give_back()  # what preparing the method took
            fits = budget.total - used_memory() - budget.blocks
        best = next((side for side in sides if self.bytes_needed(side) <= fits), sides[-1])
        needed = self.bytes_needed(best)
        if budget.stated and needed > fits:
            self._refuse(budget, best, given=tile is not None)
        return best

    def _refuse(self, budget: Budget, tile: int, given: bool) -> None:
        program = used_memory()
        needed = program + self.bytes_needed(tile)
        enough = -(-needed * 16 // 15 >> 20)  # a sixteenth of the budget is for blocks of files
        way = f"allow more (--memory {enough}M)"
        smaller = [
            s for s in _SIDES if s < tile and (program + self.bytes_needed(s)) * 16 // 15 <= budget.total
        ]
        if given and smaller:
            way = f"make the windows smaller (--tile {smaller[0]}), or {way}"
        raise UsageError(
            f"{'the run' if self.method is None else self.method.name} would take about {needed / 1e6:.0f} MB in "
            f"windows of {tile} pixels, {program / 1e6:.0f} MB of it the program itself, and --memory allows "
            f"{budget.total / 1e6:.0f} MB; {way}"
        )

    def _sides(self) -> tuple[int, ...]:
        """Return the sides to choose from, the best first."""
        halo, feather = (0, 0) if self.method is None else (self.method.halo, self.method.feather)
        # Windows that are blended show in the result, if little: they are the usual ones wherever they fit.
        large = feather == 0 and (1 + 2 * halo / _USUAL) ** 2 > _WORTHWHILE
        return _SIDES if large else tuple(side for side in _SIDES if side <= _USUAL)

    def _pixels(self, side: int) -> int:
        return min(side, self.shape[0]) * min(side, self.shape[1])

    def _computing(self, tile: int, given: int) -> int:
        if self.method is None:
            return 0
        told = self.method.bytes_needed(tile)
        return self.method.bytes_a_pixel * given if told is None else told
