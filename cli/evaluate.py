"""`geonp evaluate`: hide pixels, complete, score, methods side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from geonp.scoreboard import Row

METHODS = "kriging,rbf,cubic,linear,nearest"


@click.command()
@click.argument("rasters", nargs=-1, required=True, type=click.Path())
@options.context
@click.option("--methods", default=METHODS, show_default=True, metavar="A,B,C", help="Methods to compare.")
@click.option("--model", type=click.Path(), help="Model file of the method 'neural', which it adds.")
@click.option(
    "--holdout",
    type=click.Choice(["random", "blocks", "swaths", "gaps"]),
    default="random",
    show_default=True,
    help="How pixels are hidden: one by one, in squares, in strips, or in the raster's own gap shapes.",
)
@click.option("--reference", metavar="NAME", help="Method that ratios are to; kriging where it is there.")
@options.reading
@options.device
@options.seed
@click.option("--csv", "as_csv", is_flag=True, help="One row a raster and method, comma-separated.")
@options.as_json
@options.verbosity
def evaluate(
    rasters: tuple[str, ...],
    context: str,
    methods: str,
    model: str | None,
    holdout: str,
    reference: str | None,
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
    geonp evaluate survey.tif --context 0.9 --model model.safetensors
    """  # noqa: D301
    from geonp.evaluate import evaluate as run
    from geonp.methods.choose import NEURAL, choose

    names = [name.strip() for name in methods.split(",") if name.strip()]
    if model is not None and NEURAL not in names:
        names.insert(0, NEURAL)
    chosen = [choose(n, model if n == NEURAL else None, device=device, seed=seed) for n in names]
    paths = options.raster_files(rasters)
    fields = {path.stem if len(paths) > 1 else path.name: reading.open(str(path)) for path in paths}

    def tell(row: Row) -> None:
        what = row.failure or f"RMSE {row.score('rmse'):.4g} in {row.seconds:.1f} s"
        click.echo(f"{row.place}: {row.method}: {what}", err=True)

    done = run(
        fields,
        chosen,
        context=context,
        holdout=holdout,
        seed=seed,
        reference=reference,
        progress=None if quiet else tell,
    )
    click.echo(done.to_json() if as_json else done.to_csv() if as_csv else done.to_markdown())
