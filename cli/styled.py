"""What `geonp predict --style` adds: styles for QGIS, which appear together with the rasters or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import xarray as xr

    from geonp.blend import Layers
    from geonp.io.outputs import Writer
    from geonp.io.qml import Spread


class Styled:
    """The styles of some rasters, while these are being written.

    Parameters
    ----------
    rasters : GeoTIFF of each layer.
    survey : what is read meanwhile.
    overwrite : whether styles that exist may be replaced.

    Raises
    ------
    OutputError
        If a style exists already, or cannot be written.
    """

    def __init__(self, rasters: Mapping[str, Path], survey: str, overwrite: bool) -> None:
        from geonp.io.outputs import check_outputs
        from geonp.io.qml import style_files

        self._rasters, self._survey, self._overwrite = rasters, survey, overwrite
        self._spread: Spread | None = None
        check_outputs(style_files(rasters), overwrite=overwrite, inputs=[survey])

    def look_at(self, piece: Layers, pixels: int) -> None:
        """Take note of what the values of a window range over; the raster has `pixels` in all."""
        from geonp.io.qml import Spread

        if self._spread is None:
            self._spread = Spread(pixels)
        self._spread.add(piece.arrays())

    def commit(self, writer: Writer, field: xr.DataArray) -> None:
        """Write the styles of a completed field, then move rasters and styles into place."""
        from geonp.io.outputs import Staging, told_of_failure
        from geonp.io.qml import Spread, style_files, styles

        files = style_files(self._rasters)
        texts = styles(self._rasters, self._spread or Spread(field.size), field)
        with Staging(files, overwrite=self._overwrite, inputs=[self._survey]) as staging:
            for path, text in texts.items():
                with told_of_failure(path, (OSError,)):
                    staging.temporary(path).write_text(text, encoding="utf-8")
            writer.commit()
            staging.commit()
