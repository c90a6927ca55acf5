"""Downloads that go on where they were cut short."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from geonp import __version__

from .archive import MOST_BYTES

_CHUNK = 1 << 18
_TIMEOUT = 60
_PARTIAL, _RANGE_NOT_SATISFIABLE = 206, 416


class Resuming:
    """A downloader for pooch that keeps what it got of a file, and asks for the rest next time.

    It goes on with an HTTP range request (RFC 9110, section 14), on the condition that the file is still
    the one whose first part is here (If-Range with its entity tag or date). A server that does not know
    ranges, or has another file by now, sends the whole.

    Parameters
    ----------
    partial : where the part is kept between two attempts.
    progress : show a bar on stderr.
    most : bytes that the file may have; a server that sends more is cut off.
    """

    def __init__(self, partial: Path, progress: bool = False, most: int = MOST_BYTES) -> None:
        self.partial = partial
        self.progress = progress
        self.most = most
        self._mark = partial.with_name(partial.name + ".mark")

    def __call__(self, url: str, output_file: Any, pooch: object) -> None:
        """Fetch `url` into `output_file`, a path; pooch's interface.

        Raises
        ------
        OSError
            If the server cannot be reached, refuses, or the transfer is cut short.
        """
        try:
            self._fetch(url)
        except urllib.error.HTTPError as error:
            if error.code != _RANGE_NOT_SATISFIABLE:
                raise OSError(f"the server answers {error.code} {error.reason}") from None
            remove_partial(self.partial)  # longer than the file is now
            self._fetch(url)
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from None
        except http.client.HTTPException as error:
            raise OSError(
                f"the server's answer breaks off ({error!r}); run it again to go on from there"
            ) from None
        self.partial.replace(output_file)
        self._mark.unlink(missing_ok=True)

    def _fetch(self, url: str) -> None:
        request = urllib.request.Request(url, headers={"User-Agent": f"geonp/{__version__}"})
        have = self.partial.stat().st_size if self.partial.exists() else 0
        mark = self._mark.read_text(encoding="utf-8") if self._mark.exists() else ""
        if have and mark:
            request.add_header("Range", f"bytes={have}-")
            request.add_header("If-Range", mark)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            goes_on = answer.status == _PARTIAL
            start = have if goes_on else 0
            tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
            # A weak tag does not promise the same bytes.
            self._mark.write_text("" if tag.startswith("W/") else tag, encoding="utf-8")
            length = answer.headers.get("Content-Length")
            total = None if length is None else start + int(length)
            got = self._copy(answer, start, total, "ab" if goes_on else "wb")
        if total is not None and got < total:
            raise OSError(
                f"the transfer ended after {got} of {total} bytes; run it again to go on from there"
            )

    def _copy(self, answer: Any, start: int, total: int | None, mode: str) -> int:
        from tqdm import tqdm

        got = start
        with (
            self.partial.open(mode) as file,
            tqdm(total=total, initial=start, unit="B", unit_scale=True, disable=not self.progress) as bar,
        ):
            while chunk := answer.read(_CHUNK):
                got += len(chunk)
                if got > self.most:
                    raise OSError(f"the server sends more than the {self.most:,} bytes that the file has")
                file.write(chunk)
                bar.update(len(chunk))
        return got


def remove_partial(partial: Path) -> None:
    """Forget what is here of a file that was cut short."""
    partial.unlink(missing_ok=True)
    partial.with_name(partial.name + ".mark").unlink(missing_ok=True)
