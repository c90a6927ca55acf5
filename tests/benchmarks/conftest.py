"""Small images with structure, and a plan that takes no time."""

import numpy as np
import pytest

from geonp.benchmarks.images import Images
from geonp.benchmarks.plan import Plan


def blobs(count: int, bands: int, seed: int, side: int = 32) -> np.ndarray:
    """Discs of random place and size, bytes (N, C, H, W)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    cy, cx, r = rng.uniform(8, side - 8, (3, count, 1, 1)) / [[[[1]]], [[[1]]], [[[3]]]]
    inside = np.hypot(y - cy, x - cx) < r
    return np.repeat(np.where(inside, 220, 30).astype(np.uint8)[:, None], bands, 1)


@pytest.fixture
def images() -> Images:
    return Images.of_bytes("discs", blobs(24, 1, 0), blobs(6, 1, 1), "made here")


@pytest.fixture
def plan() -> Plan:
    return Plan(channels=8, steps=4, batch=2, learning_rate=1e-3, seeds=1, tested=4, validated=4, every=2)
