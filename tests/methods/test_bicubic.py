"""Bicubic convolution of a lattice: against torch, Keys' formula, and in windows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from geonp.errors import GeonpWarning
from geonp.methods.classical import Cubic
from geonp.methods.lattice import Bicubic
from geonp.predict import complete
from tests.methods.surveys import as_field, holey, terrain


def lattice(truth: np.ndarray, down: slice, across: slice) -> np.ndarray:
    values = np.full_like(truth, np.nan)
    values[down, across] = truth[down, across]
    return values


def test_bicubic_is_torchs() -> None:
    truth = terrain((41, 61))
    values = lattice(truth, slice(0, None, 4), slice(0, None, 5))
    coarse = torch.from_numpy(truth[::4, ::5].astype("f8"))[None, None]
    theirs = torch.nn.functional.interpolate(coarse, (41, 61), mode="bicubic", align_corners=True)[
        0, 0
    ].numpy()
    np.testing.assert_allclose(
        complete(as_field(values), Bicubic(), variance=False)["mean"][0], theirs, rtol=1e-6
    )


def test_bicubic_is_keys_convolution() -> None:
    def kernel(t: float, a: float = -0.75) -> float:
        t = abs(t)
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    values = lattice(terrain((40, 40)), slice(1, None, 3), slice(2, None, 4))
    result = complete(as_field(values), Bicubic(), variance=False)["mean"].values[0]
    row, col = 14, 20  # between the lattice rows 13 and 16, and columns 18 and 22
    by_hand = sum(
        values[r, c] * kernel((row - r) / 3) * kernel((col - c) / 4)
        for r in (10, 13, 16, 19)
        for c in (14, 18, 22, 26)
    )
    assert result[row, col] == pytest.approx(by_hand, rel=1e-6)
    np.testing.assert_array_equal(
        result[39], result[37]
    )  # beyond the last lattice row its values are repeated


@given(
    rows=st.integers(12, 60),
    cols=st.integers(12, 60),
    down=st.integers(1, 5),
    across=st.integers(2, 5),
    tile=st.integers(7, 40),
)
def test_bicubic_in_windows_equals_bicubic(rows: int, cols: int, down: int, across: int, tile: int) -> None:
    values = lattice(terrain((rows, cols)), slice(down - 1, None, down), slice(0, None, across))
    survey = as_field(values)
    whole = complete(survey, Bicubic(), variance=False)["mean"]
    np.testing.assert_allclose(
        complete(survey, Bicubic(), variance=False, tile=tile)["mean"], whole, rtol=1e-6
    )


def test_bicubic_without_a_lattice_is_cubic_and_says_so() -> None:
    regular = lattice(terrain((50, 50)), slice(0, None, 3), slice(1, None, 3))
    scattered = holey(terrain((50, 50), 3), 0.1)
    half = regular.copy()
    half[25:] = np.nan
    with pytest.warns(GeonpWarning, match=r"band 2, 3 do not.*Clough-Tocher"):
        result = complete(as_field(np.stack([regular, scattered, half])), Bicubic(), variance=False)[
            "mean"
        ].values
    np.testing.assert_array_equal(
        result[0], complete(as_field(regular), Bicubic(), variance=False)["mean"].values[0]
    )
    np.testing.assert_allclose(
        result[1:], complete(as_field(np.stack([scattered, half])), Cubic(), variance=False)["mean"]
    )
