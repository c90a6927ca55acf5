"""A method around another one: what it does not say itself, the other says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from geonp.methods.base import Method


@dataclass(frozen=True, kw_only=True)
class Wrapped(Method):
    """A method that changes what another is given, or what it answers.

    Parameters
    ----------
    base : the other method.
    """

    base: Method

    @property
    def has_variance(self) -> bool:  # type: ignore[override]
        """Whether the base has one."""
        return self.base.has_variance

    @property
    def bytes_a_pixel(self) -> int:  # type: ignore[override]
        """Bytes by each pixel read: those of the base."""
        return self.base.bytes_a_pixel

    @property
    def halo(self) -> int:
        """Pixels around a window that are read: as many as by the base."""
        return self.base.halo

    @property
    def grain(self) -> int:
        """Smallest side of a window worth completing: that of the base."""
        return self.base.grain

    @property
    def feather(self) -> int:
        """Pixels over which neighbouring windows are blended: as many as by the base."""
        return self.base.feather

    @property
    def joint(self) -> bool:
        """Whether the base completes bands together."""
        return self.base.joint

    @property
    def filters(self) -> bool:
        """Whether the base knows errors of the observations."""
        return self.base.filters

    def bytes_needed(self, window: int) -> int | None:
        """Return the memory that completing takes: as much as the base does."""
        return self.base.bytes_needed(window)

    def of_bands(self, bands: Sequence[int], count: int) -> Self:
        """Return the method for some bands of a raster alone."""
        return replace(self, base=self.base.of_bands(bands, count))

    def smoothed(self) -> Self:
        """Return the method that estimates observed pixels too."""
        return replace(self, base=self.base.smoothed())


def innermost(method: Method) -> Method:
    """Return what is left of `method` when nothing is around it."""
    while isinstance(method, Wrapped):
        method = method.base
    return method
