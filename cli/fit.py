"""`geonp fit`: train a network on rasters, and show what it is worth beside other methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options
from .duration import Duration

if TYPE_CHECKING:
    from geonp.fitting import Fitting
    from geonp.scoreboard import Evaluation

BESIDE = ("kriging", "rbf", "cubic", "linear", "nearest")
COMPARED_TILES = 24


@click.command()
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
@click.option(
    "--masks", default="random", show_default=True, help="Mask kinds: random:3,swaths,blocks,clouds."
)
@click.option("--tile-size", default=32, show_default=True, help="Side of a training tile in pixels.")
@click.option("--batch", default=8, show_default=True, help="Tiles in a batch.")
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
    "--precision", type=click.Choice(["32-true", "bf16-mixed"]), default="32-true", show_default=True
)
@click.option("--devices", default=1, show_default=True, help="Processes, one a device.")
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
    """  # noqa: D301
    from geonp.fitting import Fitting, Recipe
    from geonp.io.checkpoint import write_checkpoint
    from geonp.io.outputs import check_outputs
    from geonp.training import Options

    check_outputs([output], overwrite=overwrite, suffixes=[".safetensors"])
    state = output.with_name(output.name + ".state")
    rasters = [reading.open(str(path)) for path in options.raster_files(tiles)]
    how = Options(
        epochs=epochs,
        max_time=600.0 if max_time is None and epochs is None else max_time,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        device=device,
        devices=devices,
        precision=precision,
        learning_rate=learning_rate or (3e-3 if start is None else 5e-4),
    )
    blocks = {"encoder": encoder, "attention": attention}
    chosen = {name: value for name, value in blocks.items() if value is not None}
    recipe = Recipe(architecture, chosen | _settings(settings), context, masks, tile_size, batch)
    fitting = Fitting(rasters, recipe, how, start)
    if resume:
        fitting.training.resume(state)
    _train(fitting, state, log, resume, quiet)
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
            "comparison": None if table is None else table.as_dict(),
        }
        options.print_json(report)
        return
    trained = checkpoint.trained
    click.echo(
        f"{output}: {trained.steps} steps in {trained.seconds:.0f} s, validation {trained.score:.4f}",
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

    from tqdm import tqdm

    from geonp.training import CsvLog

    hidden = quiet or not sys.stderr.isatty()
    form = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}"
    with contextlib.ExitStack() as stack:
        rows = None if log is None else stack.enter_context(CsvLog(log, append=resumed))
        bar = stack.enter_context(tqdm(total=1.0, bar_format=form, disable=hidden, file=sys.stderr))
        try:
            for record in fitting.run():
                if rows is not None:
                    rows.write(record)
                bar.update(record.progress - bar.n)
                bar.set_description(f"step {record.step} loss {record.loss:.4f}", refresh=False)
                if record.validation is not None:
                    fitting.training.save(state)
                    if hidden and not quiet:
                        shown = f"validation {record.validation:.4f}, {record.remaining:.0f} s left"
                        click.echo(f"step {record.step}: loss {record.loss:.4f}, {shown}", err=True)
        except KeyboardInterrupt:
            fitting.training.save(state)
            click.echo(f"geonp: interrupted; go on with --resume ({state})", err=True)
            raise SystemExit(130) from None


def _compare(fitting: Fitting, model: Path, device: str, seed: int) -> Evaluation:
    """Complete held-out tiles with the model and with other methods."""
    from geonp.evaluation import evaluate
    from geonp.methods.choose import choose

    methods = [choose("neural", model, device=device), *(choose(n, device=device, seed=seed) for n in BESIDE)]
    held_out = fitting.tiles.held_out(COMPARED_TILES)
    named = {f"tile {i + 1}": tile for i, tile in enumerate(held_out)}
    return evaluate(named, methods, context=fitting.recipe.context, seed=seed)
