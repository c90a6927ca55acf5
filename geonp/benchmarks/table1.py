"""Table 1 of the IFANP paper: what each attention adds to an image-faced neural process.

Source: "Image-faced attentive neural process", Computer Systems & Applications 32(1), 2023, section 4.2,
table 1, and figures 6 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch

from geonp.benchmarks.classical import score_classical
from geonp.benchmarks.contest import Contest, Experiment
from geonp.benchmarks.images import Images, as_task, random_contexts, test_tasks
from geonp.benchmarks.panels import Strip, samples, seen_only, strips
from geonp.benchmarks.plan import Budget, Plan
from geonp.benchmarks.result import Column, Picture, Result, Table
from geonp.benchmarks.runs import Found, Trained, Workplace
from geonp.benchmarks.scores import score, speeds
from geonp.benchmarks.systems import System
from geonp.models.base import Model

CONTEXT = (0.3, 0.6)
FRACTIONS = (0.2, 0.4, 0.6)
SYSTEMS = (
    System("VAE", "vae"),
    System("NP", "np"),
    System("IFNP", "ifnp"),
    System("IFANP (LPA)", "ifnp-lpa"),
    System("IFANP (SENet)", "ifnp-senet"),
    System("IFANP (GCA)", "ifnp-gca"),
    System("IFANP", "ifanp"),
)
ORDER = ("IFNP", "IFANP (LPA)", "IFANP (SENet)", "IFANP (GCA)", "IFANP")
REFERENCE = SYSTEMS[-1]
CLASSICAL = ("nearest", "linear", "cubic", "rbf")

PLANS = MappingProxyType(
    {
        Budget.CPU: Plan(32, 400, 16, 3e-3, 3, 150, 100, 100),
        Budget.FULL: Plan(64, 30_900, 64, 2e-3, 3, 1000, 256, 500),
    }
)

# PSNR in dB and KL at 20, 40 and 60 %, as printed.
PAPER = MappingProxyType(
    {
        "IFNP": ((15.421, 15.447, 15.525), (0.006851, 0.006800, 0.006808)),
        "IFANP (LPA)": ((15.939, 16.059, 16.236), (0.004172, 0.004119, 0.004143)),
        "IFANP (SENet)": ((16.186, 16.231, 16.258), (0.000223, 0.000197, 0.000182)),
        "IFANP (GCA)": ((18.637, 18.959, 19.039), (0.000057, 0.000027, 0.000024)),
        "IFANP": ((19.391, 19.862, 20.138), (0.000037, 0.000012, 0.000010)),
    }
)

DIFFERENCES = (
    "The paper states neither sizes nor optimiser. Here all networks have about as many parameters as the IFANP, by "
    "the width of their layers, and train with AdamW along a cosine.",
    "The paper trains on 60,000 images of CelebA or MNIST and tests on 5,000; here on what is named under data.",
    "The likelihood's deviation is learnt for every pixel; the mean at the mean of q(z | context) is scored.",
    "KL is in nats an image, summed over the dimensions of z; the paper does not say what its numbers are per.",
    "NP and VAE stand in the paper's figures only; the classical interpolators are not in the paper. The whole "
    "images of an interpolator contain the seen pixels as they were; networks predict those too. 'Hidden' compares "
    "the pixels that were not seen.",
)


def run(sets: Sequence[Images], plan: Plan, budget: Budget, work: Workplace) -> Result:
    """Train every system with every seed, score it at three densities, and compare with the paper's order."""
    experiment = Experiment("table1", SYSTEMS, REFERENCE, CONTEXT, DIFFERENCES)
    contests = experiment.hold(sets, plan, work, _scored)
    tables = [_table(images, contests[images.name], plan, work) for images in sets]
    return experiment.result(
        sets,
        plan,
        budget,
        settings=(
            ("tested", f"up to {plan.tested} images; PSNR is the mean over images"),
            *contests[sets[0].name].settings(),
        ),
        findings=[
            f"{name}, {line}" for name, contest in contests.items() for line in findings(contest.found)
        ],
        tables=[*tables, _paper()],
        pictures=[p for images in sets for p in _pictures(images, contests[images.name].models)],
    )


def findings(found: Mapping[str, Sequence[Found]]) -> tuple[str, ...]:
    """Say for every density whether the paper's order came out, and by how much each step of it did.

    A step is beyond the seeds' spread where the worst seed of one network beats the best of the other.
    """
    lines = []
    for fraction in FRACTIONS:
        scores = {label: [one[_psnr(fraction)] for one in found[label]] for label in ORDER}
        means = [float(np.mean(scores[label])) for label in ORDER]
        steps = []
        for (low, high), (before, after) in zip(pairwise(ORDER), pairwise(means), strict=True):
            if len(scores[low]) < 2:
                apart = "one seed"
            elif min(scores[high]) > max(scores[low]) or max(scores[high]) < min(scores[low]):
                apart = "beyond the seeds' spread"
            else:
                apart = "within the seeds' spread"
            steps.append(f"{low} → {high} {after - before:+.2f} dB ({apart})")
        holds = "holds" if all(a < b for a, b in pairwise(means)) else "does not hold"
        lines.append(f"{fraction:.0%} seen: the paper's order {holds}: {'; '.join(steps)}.")
    goals = PAPER["IFANP"][0]
    reached = [float(np.mean([one[_psnr(f)] for one in found["IFANP"]])) for f in FRACTIONS]
    shown = ", ".join(f"{ours:.2f} ({theirs:.2f})" for ours, theirs in zip(reached, goals, strict=True))
    lines.append(f"the IFANP's PSNR, beside the paper's on CelebA: {shown} dB.")
    return tuple(lines)


def _scored(images: Images, plan: Plan, trained: Trained) -> Found:
    """Score a trained network on the test images of a set."""
    out: dict[str, float] = {}
    for fraction in FRACTIONS:
        found = score(trained.model, test_tasks(images, plan.tested, fraction), images.brightest, floor=0.0)
        out[_psnr(fraction)] = found.psnr
        out[f"hidden_{_psnr(fraction)}"] = found.hidden_psnr
        if found.divergence is not None:
            out[_kl(fraction)] = found.divergence
    return out | speeds(trained, images, plan.tested, FRACTIONS[0])


def _table(images: Images, contest: Contest, plan: Plan, work: Workplace) -> Table:
    scores = (
        *(Column(_psnr(f), f"PSNR {f:.0%}", 2) for f in FRACTIONS),
        *(Column(f"hidden_{_psnr(f)}", f"hidden {f:.0%}", 2) for f in FRACTIONS),
        *(Column(_kl(f), f"KL {f:.0%}", 4) for f in FRACTIONS),
        Column("steps_per_second", "steps/s", 1),
        Column("pixels_per_second", "pixels/s", 0),
    )
    classical = {name: score_classical(name, images, plan.tested, FRACTIONS, work) for name in CLASSICAL}
    title = f"{images.name}: mean ± deviation of {plan.seeds} seed(s)"
    return contest.table(title, "model", scores, classical)


def _paper() -> Table:
    columns = (
        Column("model", "model"),
        *(Column(_psnr(f), f"PSNR {f:.0%}", 3) for f in FRACTIONS),
        *(Column(_kl(f), f"KL {f:.0%}", 6) for f in FRACTIONS),
    )
    rows = tuple((label, *psnr, *kl) for label, (psnr, kl) in PAPER.items())
    return Table("The paper's table 1 (CelebA 32 x 32)", columns, rows)


def _pictures(images: Images, models: Mapping[str, Model]) -> tuple[Picture, ...]:
    """Draw completions of 20 % (the paper's figure 6) and draws of z for half-masked images (figure 7)."""
    shown = images.test[:6]
    count = round(FRACTIONS[0] * np.prod(images.shape))
    seen = random_contexts(np.random.default_rng(0), len(shown), images.shape, count)
    task, scale = as_task(shown, seen, images.scaling)
    rows = [Strip("20 % seen", [seen_only(i, s) for i, s in zip(shown, seen, strict=True)])]
    with torch.inference_mode():
        for label, model in models.items():
            device = next(model.parameters()).device
            rows.append(Strip(label, list(scale.invert_mean(model(task.to(device)).mean.cpu()).numpy())))
    rows.append(Strip("truth", list(shown)))
    completions = strips(rows, [(0.0, images.brightest)] * len(shown))
    return (
        Picture(f"{images.name}_completions", completions),
        Picture(f"{images.name}_samples", samples(images, models)),
    )


def _psnr(fraction: float) -> str:
    return f"psnr_{round(fraction * 100)}"


def _kl(fraction: float) -> str:
    return f"kl_{round(fraction * 100)}"
