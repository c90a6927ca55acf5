"""Synthetic fields: standardised, seeded, and of the covariance they claim."""

from __future__ import annotations

import numpy as np
import pytest

from geonp import synthetic


@pytest.mark.parametrize("kind", list(synthetic.KINDS))
@pytest.mark.parametrize("size", [16, 64, 96])
def test_every_kind_is_standardised_and_seeded(kind: str, size: int) -> None:
    draw = synthetic.KINDS[kind]
    for seed in range(5):
        a, b = (draw(size, np.random.default_rng(seed)) for _ in range(2))
        assert np.array_equal(a, b)
        assert a.shape == (size, size)
        assert np.isfinite(a).all()
        assert a.mean() == pytest.approx(0, abs=1e-9)
        assert a.std() == pytest.approx(1, abs=1e-9)
        assert not np.array_equal(a, draw(size, np.random.default_rng(seed + 100)))


def test_draw_mixes_the_kinds() -> None:
    rng = np.random.default_rng(0)
    fields = [synthetic.draw(32, rng) for _ in range(40)]
    assert all(f.dtype == np.float32 and np.isfinite(f).all() for f in fields)
    roughness = [np.diff(f, axis=0).std() for f in fields]
    assert max(roughness) > 5 * min(roughness)


def test_spectral_fields_have_the_covariance_of_their_spectrum() -> None:
    """exp(-k^2 L^2 / 8) in amplitude is exp(-k^2 L^2 / 4) in power: a Gaussian covariance exp(-h^2 / L^2)."""
    rng, reach, lag = np.random.default_rng(1), 8.0, 5
    products = []
    for _ in range(300):
        field = synthetic.spectral(64, lambda k2: np.exp(-k2 * reach**2 / 8), rng)
        products.append((field[:, lag:] * field[:, :-lag]).mean())
    # Standardising each field takes out its own mean: the correlation falls a little short.
    assert np.mean(products) == pytest.approx(np.exp(-(lag**2) / reach**2), abs=0.04)


def test_a_rough_fractal_is_rougher() -> None:
    def step(hurst: float) -> float:
        rng = np.random.default_rng(3)
        fields = [
            synthetic.spectral(64, lambda k2: np.maximum(k2, 1e-12) ** (-(hurst + 1) / 2), rng)
            for _ in range(20)
        ]
        return float(np.mean([np.diff(f, axis=1).std() for f in fields]))

    assert step(0.2) > 2 * step(0.9)


def test_opposite_edges_do_not_match() -> None:
    """A field cut from a periodic one must not be periodic itself."""
    rng = np.random.default_rng(4)
    gaps = []
    for _ in range(30):
        field = synthetic.spectral(64, lambda k2: np.exp(-k2 * 16**2 / 8), rng)
        gaps.append((np.abs(field[:, 0] - field[:, -1]).mean(), np.abs(np.diff(field, axis=1)).mean()))
    across, along = np.mean(gaps, 0)
    assert across > 4 * along
