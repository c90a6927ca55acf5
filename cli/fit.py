"""`geonp fit`: train a network on rasters, and show what it is worth beside other methods."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import crew, options
from .covariate import OF_TILES, of_tiles
from .duration import Duration
from .kriging import open_named

if TYPE_CHECKING:
    from geonp.fitting import Fitting
    from geonp.records import Pace
    from geonp.scoreboard import Evaluation

BESIDE = ("kriging", "rbf", "cubic", "linear", "nearest")
COMPARED_TILES, COMPARED_WITH_COVARIATES = 24, 8
_ARGUMENTS = "geonp.fit.arguments"


class _Shared(click.Command):
    """A command that can start itself anew in several processes, as it was typed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the arguments, and parse them."""
        ctx.meta[_ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)


@click.command(cls=_Shared)
@click.argument("tiles", nargs=-1, required=True, type=click.Path())
@options.context
@click.option(
    "-o", "output", type=options.OUT, default="model.safetensors", show_default=True, help="Model file."
)
@click.option(
    "--model",
    "--architecture",
    "architecture",
    default="ifanp",
    show_default=True,
    metavar="NAME",
    help="Network: ifanp, ifnp, ifnp-lpa, ifnp-senet, ifnp-gca, cnp, np, acnp, anp, convcnp, convnp, vae or "
    "kriged-ifanp.",
)
@click.option(
    "--encoder", metavar="NAME", help="What a convcnp or convnp sees with: residual, unet, vit, ..."
)
@click.option(
    "--attention",
    metavar="NAME",
    help="What looks over the features of a convcnp, convnp, ifnp or ifanp: squeeze-excitation, ...",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of the network; repeatable."
)
@OF_TILES
@click.option(
    "--masks", default="random", show_default=True, help="Mask kinds: random:3,swaths,blocks,clouds."
)
@click.option("--tile-size", default=32, show_default=True, help="Side of a training tile in pixels.")
@click.option(
    "--batch", default=8, show_default=True, help="Tiles in a batch, all devices and parts together."
)
@click.option(
    "--accumulate",
    default=1,
    show_default=True,
    help="Work on a batch in this many parts: it need not fit into memory at once.",
)
@click.option("--max-time", type=Duration(), help="Train this long: 90s, 10m, 1.5h.  [default: 10m]")
@click.option("--epochs", type=int, help="Train this many epochs.")
@click.option("--steps-per-epoch", default=100, show_default=True, help="Batches between two validations.")
@click.option(
    "--learning-rate",
    type=float,
    help="Its peak; it rises and falls.  [default: 0.003, with --from 0.0005]",
)
@click.option(
    "--from", "start", metavar="FILE|bundled", help="Model to start from: a file, or the bundled one."
)
@click.option("--resume", is_flag=True, help="Go on with the run that was interrupted (OUTPUT.state).")
@click.option("--log", type=options.OUT, help="CSV file of every step.")
@click.option(
    "--compare/--no-compare", default=True, show_default=True, help="End with a table beside other methods."
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "32-true", "bf16-mixed"]),
    default="auto",
    show_default=True,
    help="auto: bf16-mixed on a GPU that has it, else 32-true.",
)
@click.option(
    "--devices",
    default=1,
    show_default=True,
    help="Train in this many processes, one a GPU, that share every batch.",
)
@options.device
@options.seed
@options.reading
@options.overwrite
@options.as_json
@options.verbosity
def fit(
    tiles: tuple[str, ...],
    context: str,
    output: Path,
    architecture: str,
    encoder: str | None,
    attention: str | None,
    settings: tuple[str, ...],
    covariates: tuple[str, ...],
    masks: str,
    tile_size: int,
    batch: int,
    max_time: float | None,
    epochs: int | None,
    steps_per_epoch: int,
    learning_rate: float | None,
    start: str | None,
    resume: bool,
    log: Path | None,
    compare: bool,
    precision: str,
    devices: int,
    accumulate: int,
    device: str,
    seed: int,
    reading: options.Reading,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a network on TILES: rasters, or folders of them, of any size; holes are fine.

    \b
    geonp fit dem_tiles/ --context 0.125
    geonp fit a.tif b.tif --context 0.02:0.3 --masks random:2,swaths,clouds --max-time 1h
    geonp fit dem_tiles/ --model convcnp --set channels=64 --tile-size 64
    geonp fit dem_tiles/ --resume
    geonp fit dem_tiles/ --devices 4 --batch 64
    geonp fit rain_tiles/ --covariate dem.tif --model kriged-ifanp
    geonp fit rain_tiles/ --covariate dem.tif --from bundled
    """  # noqa: D301
    if devices > 1 and not crew.started():
        typed = click.get_current_context().meta[_ARGUMENTS]
        advice = "What was trained up to the last validation is kept: go on with --resume."
        raise SystemExit(crew.launch(["fit", *typed], devices, advice))
    crew.follow()
    if not crew.leads():  # the first process says what there is to say
        quiet = True
        warnings.simplefilter("ignore")
    from geonp.fitting import Fitting, Recipe
    from geonp.io.checkpoint import write_checkpoint
    from geonp.io.outputs import check_outputs
    from geonp.training import Options

    check_outputs([output], overwrite=overwrite, suffixes=[".safetensors"])
    state = output.with_name(output.name + ".state")
    files, beside = of_tiles(covariates, options.raster_files(tiles))
    rasters = [reading.open(str(path)) for path in files]
    known = [[open_named(str(path)) for path in paths] for paths in beside] if covariates else ()
    how = Options(
        epochs=epochs,
        max_time=600.0 if max_time is None and epochs is None else max_time,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        device=device,
        devices=devices,
        accumulate=accumulate,
        precision=precision,
        learning_rate=learning_rate or (3e-3 if start is None else 5e-4),
    )
    blocks = {"encoder": encoder, "attention": attention}
    chosen = {name: value for name, value in blocks.items() if value is not None}
    recipe = Recipe(architecture, chosen | _settings(settings), context, masks, tile_size, batch)
    names = [Path(name).name if Path(name).is_dir() else Path(name).stem for name in covariates]
    fitting = Fitting(rasters, recipe, how, start, known, names)
    if resume:
        fitting.training.resume(state)
    _train(fitting, state, log, resume, quiet)
    training = fitting.training
    if not training.leads:
        return
    checkpoint = fitting.checkpoint()
    write_checkpoint(output, checkpoint, overwrite=overwrite)
    state.unlink(missing_ok=True)
    table = _compare(fitting, output, device, seed) if compare else None
    if as_json:
        report = {
            "model": str(output),
            "steps": checkpoint.trained.steps,
            "seconds": checkpoint.trained.seconds,
            "validation": checkpoint.trained.score,
            "processes": training.processes,
            "precision": training.precision,
            "tasks_per_second": round(training.pace.tasks_per_second, 3),
            "pixels_per_second": round(training.pace.pixels_per_second),
            "waiting": round(training.pace.waiting, 4),
            "comparison": None if table is None else table.as_dict(),
        }
        options.print_json(report)
        return
    trained = checkpoint.trained
    click.echo(
        f"{output}: {trained.steps} steps in {trained.seconds:.0f} s ({_speed(training.pace)}), "
        f"validation {trained.score:.4f}",
        err=True,
    )
    if table is not None:
        click.echo(table.to_markdown(each=False))


def _settings(pairs: tuple[str, ...]) -> dict[str, object]:
    """Return network settings written as KEY=VALUE; numbers become numbers, `none` becomes None."""
    import json

    out: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key or not value:
            raise click.UsageError(f"setting {pair!r} is not KEY=VALUE; write for example --set channels=64")
        try:
            out[key] = json.loads(value.lower().replace("none", "null"))
        except json.JSONDecodeError:
            out[key] = value
    return out


def _train(fitting: Fitting, state: Path, log: Path | None, resumed: bool, quiet: bool) -> None:
    """Run the training with a bar on a terminal; whatever stops it, the state to resume from is on disk."""
    import contextlib
    import sys

    import torch
    from tqdm import tqdm

    from geonp.errors import UsageError
    from geonp.training import CsvLog

    training = fitting.training
    hidden = quiet or not sys.stderr.isatty()
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with contextlib.ExitStack() as stack:
        rows = stack.enter_context(CsvLog(log, append=resumed)) if log and training.leads else None
        bar = stack.enter_context(tqdm(total=1.0, bar_format=form, disable=hidden, file=sys.stderr))
        asked = stack.enter_context(crew.asked_to_stop())
        try:
            for record in fitting.run():
                if rows is not None:
                    rows.write(record)
                speed = _speed(training.pace)
                bar.update(record.progress - bar.n)
                bar.set_description(f"step {record.step} loss {record.loss:.4f} {speed}", refresh=False)
                if record.validation is not None:
                    training.save(state)
                    if hidden and not quiet:
                        shown = f"validation {record.validation:.4f}, {speed}, {record.remaining:.0f} s left"
                        click.echo(f"step {record.step}: loss {record.loss:.4f}, {shown}", err=True)
                if asked:
                    training.save(state)
                    if training.leads:
                        click.echo(f"geonp: interrupted; go on with --resume ({state})", err=True)
                    raise SystemExit(128 + asked[0])
        except torch.cuda.OutOfMemoryError as error:
            raise UsageError(
                "the GPU has not enough memory for this network and batch; work on a batch in more parts "
                f"(--accumulate {2 * training.options.accumulate}), or give smaller tiles or a smaller --batch"
            ) from error
        except RuntimeError:
            if not asked:
                crew.outlive()
                raise
            raise SystemExit(128 + asked[0]) from None


def _speed(pace: Pace) -> str:
    return f"{pace.tasks_per_second:.3g} tasks/s, {pace.pixels_per_second:.3g} pixels/s"


def _compare(fitting: Fitting, model: Path, device: str, seed: int) -> Evaluation:
    """Complete held-out tiles with the model and with other methods."""
    from geonp.evaluation import evaluate
    from geonp.methods.choose import choose
    from geonp.methods.covaried import with_covariates

    methods = [choose("neural", model, device=device), *(choose(n, device=device, seed=seed) for n in BESIDE)]
    context, bands = fitting.recipe.context, fitting.tiles.bands
    held_out = fitting.tiles.held_out(COMPARED_TILES)
    named = {f"tile {i + 1}": tile for i, tile in enumerate(held_out)}
    if not fitting.tiles.covariates:
        return evaluate(named, methods, context=context, seed=seed)
    # Every tile has covariates of its own, and regressions on them take a while.
    done = [
        evaluate(
            {name: tile.isel(band=slice(bands))},
            [with_covariates(method, tile.isel(band=slice(bands, None)), "always") for method in methods],
            context=context,
            seed=seed + number,
        )
        for number, (name, tile) in enumerate(islice(named.items(), COMPARED_WITH_COVARIATES))
    ]
    return replace(done[0], rows=tuple(row for one in done for row in one.rows), seed=seed)
