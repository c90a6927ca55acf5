"""`geonp evaluate`: hide pixels, complete, score, methods side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from geonp.errors import InputError, UsageError

from . import options
from .covariate import Covariates, covariates
from .errors import COLUMN, Errors, as_number

if TYPE_CHECKING:
    import xarray as xr

    from geonp.methods.errors import Stated
    from geonp.scoreboard import Row

METHODS = "kriging,rbf,cubic,linear,nearest"
SCORES = "rmse,mae,bias,standardised_rmse,crps,nll,coverage50,coverage90,coverage95,interval_score90"


def _complete_methods(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from geonp.methods import METHODS as KNOWN

    return _items(list(KNOWN), incomplete)


def _complete_scores(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from geonp.scoreboard import TITLES

    return _items(list(TITLES), incomplete)


def _items(names: Sequence[str], incomplete: str) -> list[CompletionItem]:
    """Complete the last of several names with commas between them."""
    before, comma, last = incomplete.rpartition(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in names if name.startswith(last)]


@click.command()
@click.argument("rasters", nargs=-1, required=True, type=click.Path())
@click.option(
    "--truth",
    "truths",
    multiple=True,
    type=click.Path(),
    help="What the gaps hold, on the same grid: a file a raster, or a folder with files of the same names. "
    "Nothing is hidden then.",
)
@click.option(
    "--context",
    metavar="FRACTION|COUNT|LOW:HIGH",
    help="Observed pixels that stay: a fraction (0.125), a count (500) or a range of fractions (0.02:0.3). "
    "0.8 by default; 0.125 where pixels are hidden one by one and half of the raster or more is observed.",
)
@click.option(
    "--holdout",
    type=click.Choice(["random", "blocks", "swaths", "gaps", "leave-one-out"]),
    default="random",
    show_default=True,
    help="How pixels are hidden: one by one, in squares, in strips, in the raster's own gap shapes, or each "
    "in turn with all others seen.",
)
@click.option(
    "--side",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Pixels along a block, or across a strip.",
)
@click.option(
    "--methods",
    default=METHODS,
    show_default=True,
    metavar="A,B,C",
    shell_complete=_complete_methods,
    help="Methods to compare.",
)
@click.option("--model", type=click.Path(), help="Model file of the method 'neural', which it adds.")
@click.option(
    "--relative-to",
    "--reference",
    "reference",
    metavar="NAME",
    help="Method that ratios are to; kriging where it is there.",
)
@click.option(
    "--scores",
    default=SCORES,
    metavar="A,B,C",
    shell_complete=_complete_scores,
    help="Columns of the table; psnr and ssim are for images. CSV and JSON have all scores.",
)
@click.option(
    "--data-range",
    type=float,
    help="Peak of PSNR and SSIM (255 for bytes); the raster's own range by default.",
)
@click.option(
    "--windows",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Windows of 512 x 512 that are scored of a raster of more than 1024 pixels a side.",
)
@covariates
@click.option(
    "--error",
    "stated",
    multiple=True,
    metavar="RASTER|NUMBER",
    help="Standard deviation of the error of every observation, in the units of the raster: a number, a file for each "
    "raster, or a folder with files of the same names. Methods that take errors are then shown with them too.",
)
@COLUMN
@options.reading
@options.device
@options.seed
@click.option("--csv", "as_csv", is_flag=True, help="One row a raster and method, comma-separated.")
@options.as_json
@options.verbosity
def evaluate(
    rasters: tuple[str, ...],
    truths: tuple[str, ...],
    context: str | None,
    holdout: str,
    side: int,
    methods: str,
    model: str | None,
    reference: str | None,
    scores: str,
    data_range: float | None,
    windows: int,
    covariates: Covariates,
    stated: tuple[str, ...],
    error_column: str | None,
    reading: options.Reading,
    device: str,
    seed: int,
    as_csv: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Hide pixels of RASTERS (files, or folders of them), complete them, and score what was hidden.

    \b
    geonp evaluate dem.tif --context 0.125
    geonp evaluate tiles/ --holdout gaps --methods kriging,cubic,pykrige
    geonp evaluate survey.tif --holdout leave-one-out --methods kriging,pykrige
    geonp evaluate cloudy.tif --truth clear.tif --relative-to cubic
    geonp evaluate rain.tif --covariate dem.tif --methods kriging,cubic
    geonp evaluate soundings.tif --error error.tif --methods kriging
    geonp evaluate https://example.org/dem.tif --holdout gaps
    """  # noqa: D301
    from geonp.evaluation import evaluate as run
    from geonp.methods.choose import NEURAL, choose
    from geonp.scoreboard import check_scores

    if as_csv and as_json:
        raise UsageError("--csv and --json both want stdout; choose one")
    columns = _names(scores)
    check_scores(columns)
    names = _names(methods)
    if model is not None and NEURAL not in names:
        names.insert(0, NEURAL)
    chosen = [choose(n, model if n == NEURAL else None, device=device, seed=seed) for n in names]
    paths = _files(rasters)
    fields: dict[str, xr.DataArray] = {}
    off: dict[str, Stated] = {}
    for (name, path), errors in zip(
        _labelled(paths).items(), _errors(stated, error_column, paths), strict=True
    ):
        fields[name], told = errors.read(path, reading)
        off |= {} if told is None else {name: told}
    known = None
    if truths:
        known = [reading.open(path) for path in _paired(truths, paths, "truth")]

    def tell(row: Row) -> None:
        what = row.failure or f"RMSE {row.score('rmse'):.4g} in {row.seconds:.1f} s"
        click.echo(f"{row.place}: {row.method}: {what}", err=True)

    done = run(
        fields,
        chosen,
        truth=known,
        context=context,
        holdout=holdout,
        seed=seed,
        reference=reference,
        side=side,
        most_windows=windows,
        data_range=data_range,
        covariates=covariates.open(),
        covariate_policy=covariates.policy,
        errors=off or None,
        progress=None if quiet else tell,
    )
    click.echo(done.to_json() if as_json else done.to_csv() if as_csv else done.to_markdown(scores=columns))
    if all(row.scores is None for row in done.rows):
        raise InputError(f"nothing could be scored: {done.rows[0].failure}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _files(given: Iterable[str]) -> list[str]:
    """Return the addresses and files that are named, and for folders the rasters in them."""
    from geonp.io.paths import is_address

    found: list[str] = []
    for name in given:
        found += [name] if is_address(name) else map(str, options.raster_files([name]))
    return found


def _labelled(paths: Sequence[str]) -> dict[str, str]:
    """Return files by name: as short as tells them apart."""
    if len(paths) == 1:
        return {Path(paths[0]).name: paths[0]}
    stems = [Path(path).stem for path in paths]
    shown = stems if len(set(stems)) == len(stems) else paths
    return dict(zip(shown, paths, strict=True))


def _errors(stated: Sequence[str], column: str | None, paths: Sequence[str]) -> list[Errors]:
    """Return what is said of the errors of every raster."""
    if not stated or as_number(stated[0]) is not None:
        if len(stated) > 1:
            raise UsageError(
                f"--error is one number for all, or a file for each raster; got {', '.join(stated)}"
            )
        return [Errors(stated[0] if stated else None, column)] * len(paths)
    return [Errors(path, column) for path in _paired(stated, paths, "error")]


def _paired(given: Sequence[str], paths: Sequence[str], word: str) -> list[str]:
    """Return the truth (or another `word`) of every raster: in their order, or by name from a folder."""
    if len(given) == 1 and Path(given[0]).is_dir() and Path(given[0]).suffix != ".zarr":
        inside = {Path(path).stem: path for path in _files(given)}
        stems = [Path(path).stem for path in paths]
        lacking = [stem for stem in stems if stem not in inside]
        if lacking:
            raise UsageError(f"{given[0]}: holds no {word} called {', '.join(lacking)}")
        return [inside[stem] for stem in stems]
    found = _files(given)
    if len(found) != len(paths):
        raise UsageError(f"{len(found)} {word}(s) for {len(paths)} raster(s); give --{word} once for each")
    return found
