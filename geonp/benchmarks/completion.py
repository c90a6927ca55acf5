"""Image completion as the neural-process papers score it: the log-likelihood of a pixel.

Source: Garnelo et al. (2018), "Conditional neural processes", section 4.2; Kim et al. (2019), "Attentive neural
processes", section 4.2; Gordon et al. (2020), "Convolutional conditional neural processes", section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from geonp.benchmarks.contest import Contest, Experiment
from geonp.benchmarks.images import Images, test_tasks
from geonp.benchmarks.panels import samples
from geonp.benchmarks.plan import Budget, Plan
from geonp.benchmarks.result import Column, Picture, Result, Table
from geonp.benchmarks.runs import Found, Trained, Workplace
from geonp.benchmarks.scores import score, speeds
from geonp.benchmarks.systems import System

CONTEXT = (0.01, 0.5)
FRACTIONS = (0.05, 0.1, 0.3, 0.5)
FLOOR = 0.1
REFERENCE = System("IFANP", "ifanp")
SYSTEMS = (
    System("CNP", "cnp"),
    System("NP", "np"),
    System("attentive CNP", "acnp", (("heads", 4),)),
    System("attentive NP", "anp", (("heads", 4),)),
    System("ConvCNP", "convcnp", (("head_width", 32),)),
    System("ConvNP", "convnp", (("head_width", 32), ("samples", 2))),
    System("IFNP", "ifnp"),
    REFERENCE,
)

PLANS = MappingProxyType(
    {
        Budget.CPU: Plan(32, 250, 16, 3e-3, 1, 100, 50, 125),
        Budget.FULL: Plan(128, 100_000, 16, 1e-3, 3, 5000, 500, 2000),
    }
)

DIFFERENCES = (
    f"Pixels are on a scale from 0 to 1; deviations below {FLOOR} are raised to {FLOOR} when they are scored. The "
    "neural-process literature builds that floor into the network; here networks train without it.",
    "A density of one band can be no higher than 1.38 nats with that floor; bands are summed, pixels averaged.",
    "Latent models are scored at the mean of q(z | context), not by importance sampling; the ConvNP by the normal "
    "distribution with mean and variance of its draws.",
    "All networks have about as many parameters; in the papers they differ.",
    "MNIST and FashionMNIST stand on a canvas of 32 x 32 pixels, which adds known-looking background.",
)


def run(sets: Sequence[Images], plan: Plan, budget: Budget, work: Workplace) -> Result:
    """Train the neural processes on contexts of 1 to 50 % and score them at four densities."""
    experiment = Experiment("completion", SYSTEMS, REFERENCE, CONTEXT, DIFFERENCES)
    contests = experiment.hold(sets, plan, work, _scored)
    return experiment.result(
        sets,
        plan,
        budget,
        settings=(
            ("tested", f"up to {plan.tested} images, all pixels, and those that were hidden"),
            ("floor of the deviation", f"{FLOOR} on a scale from 0 to 1"),
            *contests[sets[0].name].settings(),
        ),
        findings=[_finding(name, contest) for name, contest in contests.items()],
        tables=[_table(name, contest, plan) for name, contest in contests.items()],
        pictures=[
            Picture(f"{images.name}_samples", samples(images, contests[images.name].models))
            for images in sets
        ],
    )


def _scored(images: Images, plan: Plan, trained: Trained) -> Found:
    """Score a trained network on the test images of a set."""
    out: dict[str, float] = {}
    for fraction in FRACTIONS:
        found = score(trained.model, test_tasks(images, plan.tested, fraction), images.brightest, FLOOR)
        out[_name("all", fraction)] = found.log_likelihood
        out[_name("hidden", fraction)] = found.hidden_log_likelihood
    return out | speeds(trained, images, plan.tested, FRACTIONS[-1])


def _table(name: str, contest: Contest, plan: Plan) -> Table:
    scores = (
        *(Column(_name("all", f), f"all, {f:.0%}", 3) for f in FRACTIONS),
        *(Column(_name("hidden", f), f"hidden, {f:.0%}", 3) for f in FRACTIONS),
        Column("steps_per_second", "steps/s", 1),
        Column("pixels_per_second", "pixels/s", 0),
    )
    title = f"{name}: log-likelihood in nats a pixel, mean ± deviation of {plan.seeds} seed(s)"
    return contest.table(title, "model", scores)


def _finding(name: str, contest: Contest) -> str:
    means = {
        label: float(np.mean([one[_name("hidden", f)] for one in found for f in FRACTIONS]))
        for label, found in contest.found.items()
    }
    order = sorted(means, key=lambda label: means[label], reverse=True)
    return f"{name}: hidden pixels, mean of the densities: {', '.join(f'{k} {means[k]:.2f}' for k in order)}."


def _name(which: str, fraction: float) -> str:
    return f"{which}_{round(fraction * 100)}"
