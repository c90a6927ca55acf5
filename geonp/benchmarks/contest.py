"""Networks of one size, trained alike: with several seeds on one set of images, and on every set of a benchmark."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from geonp.benchmarks.images import Images
from geonp.benchmarks.plan import Budget, Plan
from geonp.benchmarks.result import Cell, Column, Picture, Result, Spread, Table
from geonp.benchmarks.runs import Found, Trained, Workplace, train
from geonp.benchmarks.systems import Sized, System, sized
from geonp.models.base import Model


@dataclass(frozen=True)
class Contest:
    """What came of it.

    Parameters
    ----------
    found : scores of every seed, by the label of the system.
    models : the networks of the first seed.
    sizes : their architectures, configs and numbers of parameters.
    """

    found: Mapping[str, Sequence[Found]]
    models: Mapping[str, Model]
    sizes: Mapping[str, Sized]

    def spread(self, label: str, score: str) -> Spread | None:
        """Return a score over the seeds; None where the system has no such score."""
        values = [one[score] for one in self.found[label] if score in one]
        return Spread.of(values) if values else None

    def table(
        self, title: str, heading: str, scores: Sequence[Column], classical: Mapping[str, Found] | None = None
    ) -> Table:
        """Return the systems, a row each, and below them methods without parameters.

        Parameters
        ----------
        heading : of the names' column.
        scores : the columns of scores, by their names in `Found`.
        classical : scores of other methods, by name.
        """
        columns = (Column(heading, heading), Column("parameters", "parameters"), *scores)
        rows: list[tuple[Cell, ...]] = [
            (label, self.sizes[label].parameters, *(self.spread(label, c.name) for c in scores))
            for label in self.found
        ]
        rows += [(name, None, *(one.get(c.name) for c in scores)) for name, one in (classical or {}).items()]
        return Table(title, columns, tuple(rows))

    def settings(self) -> tuple[tuple[str, str], ...]:
        """Return every system's settings as text."""
        return tuple((label, str(size)) for label, size in self.sizes.items())


def hold(
    systems: Sequence[System],
    reference: System,
    images: Images,
    context: tuple[float, float],
    plan: Plan,
    work: Workplace,
    scored: Callable[[Trained], Found],
) -> Contest:
    """Train every system with every seed, all with about as many parameters as the reference, and score it."""
    wanted = sized(reference, images.bands, channels=plan.channels).parameters
    sizes = {system.label: sized(system, images.bands, count=wanted) for system in systems}
    found: dict[str, list[Found]] = {system.label: [] for system in systems}
    models: dict[str, Model] = {}
    for seed in range(plan.seeds):
        for label, size in sizes.items():
            key = f"{images.name} {label} {seed}"
            training = partial(train, key, size, images, context, plan, seed, work)
            if seed == 0:
                first = training()
                models[label] = first.model
                found[label].append(work.score(key, partial(scored, first)))
            else:
                found[label].append(work.score(key, partial(_both, training, scored)))
    return Contest(found, models, sizes)


def _both(training: Callable[[], Trained], scored: Callable[[Trained], Found]) -> Found:
    return scored(training())


@dataclass(frozen=True)
class Experiment:
    """What the benchmarks have in common that train networks on images.

    Parameters
    ----------
    name : of the benchmark.
    systems : the networks.
    reference : the network that the others get as many parameters as.
    context : least and largest fraction of the pixels that is seen in training.
    differences : what is not as in the paper.
    """

    name: str
    systems: Sequence[System]
    reference: System
    context: tuple[float, float]
    differences: tuple[str, ...]

    def hold(
        self,
        sets: Sequence[Images],
        plan: Plan,
        work: Workplace,
        scored: Callable[[Images, Plan, Trained], Found],
    ) -> dict[str, Contest]:
        """Hold a contest on every set of images, and return them by its name."""
        return {
            images.name: hold(
                self.systems, self.reference, images, self.context, plan, work, partial(scored, images, plan)
            )
            for images in sets
        }

    def result(
        self,
        sets: Sequence[Images],
        plan: Plan,
        budget: Budget,
        settings: Sequence[tuple[str, str]],
        findings: Sequence[str],
        tables: Sequence[Table],
        pictures: Sequence[Picture],
    ) -> Result:
        """Return the outcome: beside what is given, how the networks were trained, and on what."""
        low, high = self.context
        trained = f"{plan.steps} steps of {plan.batch} images, {low:.0%} to {high:.0%} seen"
        return Result(
            benchmark=self.name,
            budget=budget,
            short=budget is Budget.CPU,
            data=tuple(f"{images.name}: {images.source}" for images in sets),
            seeds=tuple(range(plan.seeds)),
            settings=(("training", trained), *settings),
            differences=self.differences,
            findings=tuple(findings),
            tables=tuple(tables),
            pictures=tuple(pictures),
        )
