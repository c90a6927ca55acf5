"""Networks of one size, trained with several seeds on one set of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from geonp.benchmarks.images import Images
from geonp.benchmarks.plan import Plan
from geonp.benchmarks.result import Cell, Column, Spread, Table
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
