"""A web server on this machine that gives out parts of files, as stores in a cloud do.

It is a process of its own: GDAL does not let other threads of this one work while it waits.
"""

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOW = 20.0
LOG: list[tuple[str, int]] = []


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder, with range requests; `/slow/...` keeps one waiting, `/closed/...` is refused."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        if self.path.startswith("/slow/"):
            time.sleep(SLOW)
        if self.path.startswith("/closed/"):
            self.send_error(403)
            return
        file = Path(self.translate_path(self.path))
        if self.path != "/log" and not file.is_file():
            self.send_error(404)
            return
        data = json.dumps(LOG).encode() if self.path == "/log" else file.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, stop = (int(wanted[1]), int(wanted[2] or len(data)) + 1) if wanted else (0, len(data))
        if start >= len(data) > 0:
            self.send_error(416)
            return
        part = data[start:stop]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{start + len(part) - 1}/{len(data)}")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if body:
            LOG.append((self.path, len(part)))
            self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass(frozen=True)
class Server:
    """The address of a running server."""

    url: str

    def sent(self, path: str) -> int:
        """Return how many bytes of a file it has sent."""
        with urllib.request.urlopen(f"{self.url}/log") as answer:
            return sum(size for sent, size in json.load(answer) if sent == path)


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    command = [sys.executable, __file__, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process.stdout.readline().strip())
        finally:
            process.kill()


if __name__ == "__main__":
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=sys.argv[1])) as server:
        server.daemon_threads = True
        print(f"http://127.0.0.1:{server.server_port}", flush=True)
        server.serve_forever()
