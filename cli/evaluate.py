"""`geonp evaluate`: hide pixels, complete, score, methods side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from . import options
from .covariate import Covariates, covariates

if TYPE_CHECKING:
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
    """  # noqa: D301
    from geonp.errors import InputError, UsageError
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
    paths = options.raster_files(rasters)
    fields = {name: reading.open(str(path)) for name, path in _labelled(paths).items()}
    known = None
    if truths:
        known = [reading.open(str(path)) for path in _paired(truths, paths)]

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
        progress=None if quiet else tell,
    )
    click.echo(done.to_json() if as_json else done.to_csv() if as_csv else done.to_markdown(scores=columns))
    if all(row.scores is None for row in done.rows):
        raise InputError(f"nothing could be scored: {done.rows[0].failure}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _labelled(paths: Sequence[Path]) -> dict[str, Path]:
    """Return files by name: as short as tells them apart."""
    if len(paths) == 1:
        return {paths[0].name: paths[0]}
    stems = [path.stem for path in paths]
    shown = stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
    return dict(zip(shown, paths, strict=True))


def _paired(truths: Sequence[str], paths: Sequence[Path]) -> list[Path]:
    """Return the truth of every raster: in their order, or by name from a folder."""
    from geonp.errors import UsageError

    if len(truths) == 1 and Path(truths[0]).is_dir() and Path(truths[0]).suffix != ".zarr":
        inside = {path.stem: path for path in options.raster_files(truths)}
        lacking = [path.stem for path in paths if path.stem not in inside]
        if lacking:
            raise UsageError(f"{truths[0]}: holds no truth called {', '.join(lacking)}")
        return [inside[path.stem] for path in paths]
    found = options.raster_files(truths)
    if len(found) != len(paths):
        raise UsageError(f"{len(found)} truth(s) for {len(paths)} raster(s); give --truth once for each")
    return found
