"""Makes training examples: crops of rasters and synthetic fields, masked, kriged, and packed into shards.

    python docs/recipes/flagship/pack.py DATA OUT --count 40000 --seed 1
    python docs/recipes/flagship/pack.py DATA OUT_HELD --count 1024 --seed 7 --held

Every shard is a pure function of the seed and its number; shards that exist are kept, so that a run can be
interrupted, continued, extended, and shared between processes of different seeds.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rasters import Source, read

from geonp import synthetic
from geonp.kriging.quick import Correlation, CropKriging, fit, krige
from geonp.masks import Mask, MaskKind, Mixture, draw_context

SIZE = 64
SHARD = 512
MIXTURE = Mixture(tuple(MaskKind), (0.50, 0.08, 0.12, 0.15, 0.08, 0.07))  # in the order of MaskKind
_MASKS_A_CROP = 3
_SYNTHETIC = 0.15
_FEWEST = 12
_LARGEST = 6e4


@dataclass(frozen=True)
class Crop:
    """A crop: values (64, 64), where they are known, dy / dx, and where it is from."""

    values: NDArray[np.float64]
    known: Mask
    aspect: float
    name: str


class Maker:
    """Draws examples from some rasters."""

    def __init__(
        self, sources: list[Source], donors: list[Mask], synthetic_share: float, jitter: bool
    ) -> None:
        self._sources = sources
        self._donors = donors
        self._synthetic = synthetic_share
        self._jitter = jitter
        shares = np.array([source.share for source in sources])
        self._shares = shares / shares.sum()

    def examples(self, rng: np.random.Generator) -> Iterator[dict[str, object]]:
        """Yield the examples of one crop: it is fitted once, and seen through three masks."""
        crop = self._crop(rng)
        if rng.random() < 0.5:
            crop = Crop(crop.values, crop.known, 1.0, crop.name)
        correlation: Correlation | None = None
        for _ in range(_MASKS_A_CROP):
            kind, observed = self._mask(crop.known, rng)
            if observed.sum() < _FEWEST or crop.values[observed].std() < 1e-6:
                continue
            if correlation is None:
                places = np.argwhere(observed) * [crop.aspect, 1.0]
                correlation, _ = fit(places, crop.values[observed][:, None], rng)
            used = correlation.jittered(rng) if self._jitter and rng.random() < 0.2 else correlation
            done = krige(crop.values[None], observed, (crop.aspect, 1.0), used.covariance())
            yield _packed(crop, kind, observed, done)

    def _crop(self, rng: np.random.Generator) -> Crop:
        if rng.random() < self._synthetic:
            field = synthetic.draw(SIZE, rng).astype(np.float64)
            return Crop(field, np.ones(field.shape, bool), 1.0, "synthetic")
        while True:
            source = self._sources[int(rng.choice(len(self._sources), p=self._shares))]
            rows, cols = source.values.shape
            if min(rows, cols) < SIZE:
                continue
            i, j = int(rng.integers(rows - SIZE + 1)), int(rng.integers(cols - SIZE + 1))
            values = source.values[i : i + SIZE, j : j + SIZE].astype(np.float64)
            known = np.isfinite(values)
            if known.mean() < 0.85 or _flat(values[known]):
                continue
            return Crop(np.where(known, values, 0.0), known, source.aspect, source.name)

    def _mask(self, known: Mask, rng: np.random.Generator) -> tuple[MaskKind, Mask]:
        kind = MIXTURE.draw(rng)
        low, high = {MaskKind.RANDOM: (0.015, 0.5), MaskKind.TRANSECTS: (0.06, 0.35)}.get(kind, (0.04, 0.5))
        share = math.exp(rng.uniform(math.log(low), math.log(high)))
        donor = self._donors[int(rng.integers(len(self._donors)))] if kind is MaskKind.GAPS else None
        return kind, draw_context(kind, known, round(share * int(known.sum())), rng, donor)


def _flat(values: NDArray[np.float64]) -> bool:
    commonest = np.unique(values, return_counts=True)[1].max()
    return bool(values.std() < 1e-3 or commonest > 0.2 * values.size)


def _packed(crop: Crop, kind: MaskKind, observed: Mask, kriged: CropKriging) -> dict[str, object]:
    mean, std, surprise = (layer[0] for layer in (kriged.mean, kriged.std, kriged.surprise))
    unit = std[~observed].mean()

    def half(image: NDArray[np.float64]) -> NDArray[np.float16]:
        return np.clip(image, -_LARGEST, _LARGEST).astype(np.float16)

    return {
        "mean": ((mean - mean.mean()) / unit).astype(np.float32),
        "std": half(std / unit),
        "residual": half((crop.values - mean) / std),
        "surprise": half(surprise),
        "observed": observed,
        "known": crop.known,
        "aspect": np.float32(crop.aspect),
        "noise": np.float32(kriged.noise[0] / unit),
        "kind": str(kind),
        "name": crop.name,
    }


def main() -> None:
    """Make the shards that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--held", action="store_true", help="examples from the rasters set aside")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    training = read(chosen.data, held=False)
    donors = [s.known for s in training if s.known.mean() < 0.995 and min(s.values.shape) >= SIZE]
    sources = read(chosen.data, held=True) if chosen.held else training
    maker = Maker(sources, donors, 0.0 if chosen.held else _SYNTHETIC, not chosen.held)
    for number in range(-(-chosen.count // SHARD)):
        path = chosen.out / f"{chosen.seed:03d}_{number:05d}.npz"
        if path.exists():
            continue
        rng, rows = np.random.default_rng([chosen.seed, number]), []
        while len(rows) < SHARD:
            rows.extend(maker.examples(rng))
        columns = {key: np.stack([row[key] for row in rows[:SHARD]]) for key in rows[0]}
        draft = path.with_suffix(".part")
        with draft.open("wb") as stream:
            np.savez(stream, **columns)
        os.replace(draft, path)
        print(path, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
