"""`geonp benchmark`: the papers' experiments, from data to table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from . import options

if TYPE_CHECKING:
    from geonp.benchmarks.images import Images
    from geonp.benchmarks.plan import Budget, Plan
    from geonp.benchmarks.result import Result
    from geonp.benchmarks.runs import Workplace

BENCHMARKS = ("table1", "completion", "report", "heaton", "terrain")
RASTERS = ("dem", "srtm", "copernicus", "tfasr")
PREFERRED = {
    "table1": (("faces", "celeba"), ("fashion-mnist", "mnist")),
    "completion": (("mnist",), ("fashion-mnist",)),
    "report": (("tfasr", *RASTERS[:3]), ("fashion-mnist",), ("eurosat",)),
    "terrain": (RASTERS[:3],),
}
"""What each benchmark runs on: of each group the first that is on this machine."""
RUNS = "runs"
_DPI = 110


@click.command()
@click.argument("name", type=click.Choice(BENCHMARKS))
@click.option(
    "--data",
    multiple=True,
    metavar="SET",
    help="Data set to run on; repeatable. By default those of the benchmark that are on this machine.",
)
@click.option(
    "--budget",
    type=click.Choice(["cpu", "full"]),
    default="cpu",
    show_default=True,
    help="cpu: under half an hour on two cores. full: the whole length, for a GPU.",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Trainings of every network.  [default: the budget's]"
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write to.  [default: benchmark-NAME]"
)
@click.option("--resume", is_flag=True, help="Go on with the runs that are in the folder.")
@options.device
@options.as_json
@options.verbosity
def benchmark(
    name: str,
    data: tuple[str, ...],
    budget: str,
    seeds: int | None,
    output: Path | None,
    resume: bool,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Repeat an experiment of the papers and write its table and figures.

    \b
    table1      what each attention adds to an IFNP (faces or CelebA, MNIST, FashionMNIST)
    completion  log-likelihoods of neural processes on images
    report      ConvCNP and others on DEM tiles, FashionMNIST and EuroSAT, beside interpolation and kriging
    heaton      the case-study competition of Heaton et al. (2019), beside its published table
    terrain     every method on held-out terrain

    \b
    geonp benchmark table1 --data fashion-mnist
    geonp benchmark report --budget full --seeds 3 --output report
    geonp benchmark table1 --resume
    """  # noqa: D301 (click wants the control character)
    from geonp.benchmarks.plan import Budget
    from geonp.errors import OutputError

    folder = output or Path(f"benchmark-{name}")
    if folder.exists() and not resume and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: exists already; go on with it (--resume), or choose another (--output)")

    def tell(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    try:
        result = _run(name, data, Budget(budget), seeds, folder, device, tell)
    except KeyboardInterrupt:
        click.echo(
            f"geonp: interrupted; go on with: geonp benchmark {name} --output {folder} --resume", err=True
        )
        raise SystemExit(130) from None
    _write(result, folder)
    click.echo(result.to_json() if as_json else result.to_markdown(), nl=False)


def _run(
    name: str,
    data: tuple[str, ...],
    budget: Budget,
    seeds: int | None,
    folder: Path,
    device: str,
    tell: Callable[[str], None],
) -> Result:
    from geonp.benchmarks import completion, heaton, report, table1, terrain

    if name == "heaton":
        from geonp.datasets.heaton import load_heaton

        competition = load_heaton()
        return heaton.run(competition.seen, competition.truth, budget, tell)
    if name == "terrain":
        from geonp.datasets.rasters import load_rasters

        rasters = load_rasters((data or _default(name))[0])
        return terrain.run(rasters.validation, rasters.source, budget, seeds or 1, tell)
    plans, run = {
        "table1": (table1.PLANS, table1.run),
        "completion": (completion.PLANS, completion.run),
        "report": (report.PLANS, report.run),
    }[name]
    plan = plans[budget] if seeds is None else replace(plans[budget], seeds=seeds)
    sets = [_images(one) for one in data or _default(name)]
    return run(sets, plan, budget, _workplace(name, budget, plan, folder, device, tell))


def _workplace(
    name: str, budget: Budget, plan: Plan, folder: Path, device: str, tell: Callable[[str], None]
) -> Workplace:
    from geonp.benchmarks.runs import Workplace

    same = {key: str(value) for key, value in asdict(plan).items() if key != "seeds"}
    return Workplace(folder / RUNS, {"benchmark": name, "budget": str(budget), **same}, device, tell)


def _images(name: str) -> Images:
    """Load a set of images in the form in which a benchmark uses it."""
    from geonp.benchmarks.images import Images

    if name in RASTERS:
        from geonp.datasets.rasters import load_rasters

        from geonp.benchmarks.crops import as_images

        rasters = load_rasters(name)
        return as_images(rasters.name, rasters.train, rasters.validation, rasters.source)
    from geonp.datasets.images import load_images

    found = load_images(name)
    images = Images.of_bytes(found.name, found.train, found.test, found.source)
    # The report's FashionMNIST is 32 x 32, and a VAE decodes powers of two.
    return images.padded(32) if images.shape == (28, 28) else images


def _default(benchmark: str) -> Sequence[str]:
    """Return the data sets of a benchmark that are on this machine.

    Raises
    ------
    InputError
        If there is none; the message says how to get one.
    """
    from geonp.datasets import Store, data_set

    from geonp.errors import InputError

    store = Store.default()
    here = [next((n for n in group if store.present(data_set(n))), None) for group in PREFERRED[benchmark]]
    found = [name for name in here if name is not None]
    if not found:
        names = ", ".join(name for group in PREFERRED[benchmark] for name in group)
        raise InputError(
            f"{benchmark} runs on {names}, and none of them is on this machine; see `geonp datasets list`, then "
            f"`geonp datasets fetch NAME`"
        )
    return found


def _write(result: Result, folder: Path) -> None:
    """Write table and figures, replacing those of an earlier run."""
    import matplotlib.pyplot as plt

    from geonp.io.outputs import Staging

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {folder / f"{result.benchmark}_{p.name}.png": p.figure for p in result.pictures}
    texts = {
        folder / f"{result.benchmark}.md": result.to_markdown(),
        folder / f"{result.benchmark}.json": result.to_json(),
    }
    with Staging([*texts, *pictures], overwrite=True) as staging:
        for path, text in texts.items():
            staging.temporary(path).write_text(text, encoding="utf-8")
        for path, figure in pictures.items():
            figure.savefig(staging.temporary(path), dpi=_DPI)
            plt.close(figure)
        staging.commit()
