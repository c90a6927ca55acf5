"""`geonp benchmark`: the papers' experiments, from data to table; and how fast everything is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import options
from .duration import Duration

if TYPE_CHECKING:
    from geonp.benchmarks.images import Images
    from geonp.benchmarks.plan import Budget, Plan
    from geonp.benchmarks.result import Result
    from geonp.benchmarks.runs import Workplace

BENCHMARKS = ("table1", "completion", "report", "heaton", "terrain", "speed")
RASTERS = ("dem", "srtm", "copernicus", "tfasr")
PREFERRED = {
    "table1": (("faces", "celeba"), ("fashion-mnist", "mnist")),
    "completion": (("mnist",), ("fashion-mnist",)),
    "report": (("tfasr", *RASTERS[:3]), ("fashion-mnist",), ("eurosat",)),
    "terrain": (RASTERS[:3],),
}
"""What each benchmark runs on: of each group the first that is on this machine."""
RUNS = "runs"
SPEED = "speed"
_DPI = 110
_BUDGETS = ("cpu", "full")
_SPEED_BUDGET = "15m"
_COMMAND = "geonp.cli:main"


class _Length(click.ParamType[str]):
    """How long a benchmark may take: the name of a budget, or a time; which of the two, its name decides."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the value as it is, if it is either."""
        if value not in _BUDGETS:
            try:
                Duration().convert(value, param, ctx)
            except click.BadParameter:
                self.fail(
                    f"{value!r} is neither cpu nor full, nor a time such as 90s, 12m or 1.5h", param, ctx
                )
        return str(value)


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
    type=_Length(),
    metavar="cpu|full|TIME",
    help="cpu: under half an hour on two cores. full: the whole length, for a GPU. speed: a time, such as 12m, "
    f"that it keeps to.  [default: cpu; speed: {_SPEED_BUDGET}]",
)
@click.option(
    "--seeds", type=click.IntRange(min=1), help="Trainings of every network.  [default: the budget's]"
)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder to write to.  [default: benchmark-NAME]"
)
@click.option("--resume", is_flag=True, help="Go on with the runs that are in the folder.")
@click.option(
    "--against",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="speed: compare with this kept run (speed.json), and exit with 1 if something became slower.",
)
@click.option(
    "--tolerate",
    type=click.FloatRange(min=1.0, min_open=True),
    default=1.5,
    show_default=True,
    metavar="TIMES",
    help="--against: how many times as long, or as much memory, is still the same.",
)
@options.device
@options.as_json
@options.verbosity
def benchmark(
    name: str,
    data: tuple[str, ...],
    budget: str | None,
    seeds: int | None,
    output: Path | None,
    resume: bool,
    against: Path | None,
    tolerate: float,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Repeat an experiment of the papers, or measure speed, and write tables and figures.

    \b
    table1      what each attention adds to an IFNP (faces or CelebA, MNIST, FashionMNIST)
    completion  log-likelihoods of neural processes on images
    report      ConvCNP and others on DEM tiles, FashionMNIST and EuroSAT, beside interpolation and kriging
    heaton      the case-study competition of Heaton et al. (2019), beside its published table
    terrain     every method on held-out terrain
    speed       seconds and memory against pixels, observations and bands, beside other packages

    \b
    geonp benchmark table1 --data fashion-mnist
    geonp benchmark report --budget full --seeds 3 --output report
    geonp benchmark table1 --resume
    geonp benchmark speed --budget 12m --against speed.json
    """  # noqa: D301 (click wants the control character)
    from geonp.benchmarks.plan import Budget
    from geonp.errors import OutputError

    _check(name, data, budget, seeds, resume, against)
    folder = output or Path(f"benchmark-{name}")
    if folder.exists() and not resume and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder}: exists already; go on with it (--resume), or choose another (--output)")

    def tell(line: str) -> None:
        if not quiet:
            click.echo(line, err=True)

    if name == SPEED:
        _speed(budget or _SPEED_BUDGET, against, tolerate, folder, device, tell, as_json)
        return
    try:
        result = _run(name, data, Budget(budget or _BUDGETS[0]), seeds, folder, device, tell)
    except KeyboardInterrupt:
        click.echo(
            f"geonp: interrupted; go on with: geonp benchmark {name} --output {folder} --resume", err=True
        )
        raise SystemExit(130) from None
    _write(result, folder, result.to_json())
    click.echo(result.to_json() if as_json else result.to_markdown(), nl=False)


def _check(
    name: str,
    data: tuple[str, ...],
    budget: str | None,
    seeds: int | None,
    resume: bool,
    against: Path | None,
) -> None:
    """Refuse options that the benchmark does not have."""
    from geonp.errors import UsageError

    if name == SPEED:
        given = {"--data": bool(data), "--seeds": seeds is not None, "--resume": resume}
        if wrong := [option for option, there in given.items() if there]:
            raise UsageError(f"speed has no {' and no '.join(wrong)}: it runs on terrain of its own, once")
        if budget in _BUDGETS:
            raise UsageError(
                f"speed takes a time as its budget, not {budget!r}; write --budget {_SPEED_BUDGET}"
            )
    elif budget not in (None, *_BUDGETS):
        raise UsageError(f"{name} takes --budget cpu or full, not {budget!r}; times are for speed")
    elif against is not None:
        raise UsageError(f"--against compares runs of speed, not of {name}; leave it out")


def _speed(
    budget: str,
    against: Path | None,
    tolerate: float,
    folder: Path,
    device: str,
    tell: Callable[[str], None],
    as_json: bool,
) -> None:
    """Measure, write, and where a kept run is named say what became slower, with an exit code of 1."""
    from geonp.benchmarks.speed.against import compare
    from geonp.benchmarks.speed.record import Record
    from geonp.benchmarks.speed.suite import Setting, run
    from geonp.benchmarks.speed.tell import result as told

    # Before anything is measured, so that a wrong name costs no time.
    before = None if against is None else Record.read(against)
    record = run(Setting(Duration().convert(budget, None, None), _COMMAND, device), tell)
    result = told(record)
    _write(result, folder, record.to_json())
    click.echo(record.to_json() if as_json else result.to_markdown(), nl=False)
    if before is None:
        return
    comparison = compare(record, before, tolerate)
    click.echo(comparison.table().to_markdown(), err=as_json)
    if comparison.worse:
        click.echo(f"geonp: {len(comparison.worse)} measurements became worse than in {against}", err=True)
        raise SystemExit(1)


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


def _write(result: Result, folder: Path, content: str) -> None:
    """Write table and figures, replacing those of an earlier run."""
    import matplotlib.pyplot as plt

    from geonp.io.outputs import Staging

    folder.mkdir(parents=True, exist_ok=True)
    pictures = {folder / f"{result.benchmark}_{p.name}.png": p.figure for p in result.pictures}
    texts = {
        folder / f"{result.benchmark}.md": result.to_markdown(),
        folder / f"{result.benchmark}.json": content,
    }
    with Staging([*texts, *pictures], overwrite=True) as staging:
        for path, text in texts.items():
            staging.temporary(path).write_text(text, encoding="utf-8")
        for path, figure in pictures.items():
            figure.savefig(staging.temporary(path), dpi=_DPI)
            plt.close(figure)
        staging.commit()
