"""`geonp datasets`: which public data sets there are, and how they get onto this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from geonp.datasets import DataSet, RemoteFile, Store


@click.group()
def datasets() -> None:
    """Public data sets: source, licence, checksum, download.

    \b
    geonp datasets list
    geonp datasets fetch fashion-mnist
    geonp datasets fetch copernicus --tile N46E008 --tile N46E009
    geonp datasets path fashion-mnist

    Files go to the system's cache folder, or to the one named by GEONP_CACHE. Copies in the folder named by
    GEONP_DATA are used where they are.
    """  # noqa: D301 (click wants the control character)


@datasets.command("list")
@options.as_json
def show(as_json: bool) -> None:
    """List the data sets, their licences, and which of them are on this machine."""
    from geonp.datasets import Store, data_sets

    store = Store.default()
    entries = [_entry(data, store) for data in data_sets().values()]
    if as_json:
        options.print_json({"cache": str(store.cache), "datasets": entries})
        return
    for entry in entries:
        click.echo(f"{entry['name']}  [{entry['here']}]")
        for key in ("title", "licence", "citation", "homepage"):
            if entry[key]:
                click.echo(f"    {key}: {entry[key]}")
    click.echo(f"cache: {store.cache}")


@datasets.command()
@click.argument("names", nargs=-1, required=True)
@click.option("--tile", "tiles", multiple=True, help="Tile of a set of tiles, such as N46E008; repeatable.")
@options.verbosity
def fetch(names: tuple[str, ...], tiles: tuple[str, ...], quiet: bool) -> None:
    """Fetch data sets NAMES. A download that was cut short goes on where it stopped."""
    import sys

    from geonp.datasets import Store, data_set

    store = Store.default()
    sets = [data_set(name) for name in names]
    wanted = [(data, file) for data in sets for file in _files(data, tiles)]
    for data, file in wanted:
        try:
            path = store.fetch(data, file, progress=not quiet and sys.stderr.isatty())
        except KeyboardInterrupt:
            click.echo("geonp: interrupted; run it again to go on from there", err=True)
            raise SystemExit(130) from None
        if not quiet and file.hash is None and path.parent == store.folder(data):
            click.echo(f"{file.name}: no checksum is published; its hash is kept from now on", err=True)
        click.echo(path)
    for data in sets:
        if not quiet:
            click.echo(f"{data.name}: licence: {data.licence}; cite: {data.citation}", err=True)


@datasets.command()
@click.argument("name")
def path(name: str) -> None:
    """Print where the files of data set NAME are, or are to be put by hand."""
    from geonp.datasets import Store, data_set

    store, data = Store.default(), data_set(name)
    copy = store.copy(data)
    click.echo(copy if copy is not None else store.folder(data))
    missing = [] if data.tiles else [file.name for file in data.files if store.find(data, file) is None]
    if missing:
        click.echo(f"geonp: not there yet: {', '.join(missing)}", err=True)


def _files(data: DataSet, tiles: tuple[str, ...]) -> list[RemoteFile]:
    """Return the files of a set that are to be fetched.

    Raises
    ------
    UsageError
        If tiles are named of a set that has none.
    InputError
        If the set is a folder that cannot be fetched.
    """
    from geonp.errors import InputError

    if data.tiles or tiles:
        return [data.tile(name) for name in tiles or data.tiles]
    if not data.files:
        raise InputError(f"{data.name} cannot be fetched: {data.manual}")
    return list(data.files)


def _entry(data: DataSet, store: Store) -> dict[str, object]:
    copy = store.copy(data)
    if copy is not None and store.present(data):
        here, where = "a copy is here", copy
    elif store.present(data):
        here, where = "fetched", store.folder(data)
    else:
        here, where = ("by hand" if data.manual else "not here"), None
    files = [{"name": f.name, "urls": f.urls, "hash": f.hash, "bytes": f.size} for f in data.files]
    return {
        "name": data.name,
        "here": here,
        "path": None if where is None else str(Path(where)),
        "title": data.title,
        "licence": data.licence,
        "citation": data.citation,
        "homepage": data.homepage,
        "manual": data.manual,
        "files": files,
        "tiles": data.tiles,
    }
