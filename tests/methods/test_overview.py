"""What windows that see nothing are told: a coarse overview of the raster, and the reach that avoids it."""

import numpy as np
import pytest

from geonp.field import Window
from geonp.methods.base import Method, Place
from geonp.methods.classical import Cubic, Idw, Linear, Nearest, Rbf
from geonp.methods.fillnodata import FillNodata
from geonp.methods.overview import Overview
from geonp.predict import complete
from tests.methods.surveys import SPACING, as_field, holey, terrain


def test_overview_is_block_means_between_which_it_is_linear() -> None:
    values = holey(terrain((100, 70)), 0.4)
    values[:40, :40] = np.nan
    overview = Overview.of(as_field(values), most=10)
    assert overview.side == 10
    assert overview.cells[0, 5, 3] == pytest.approx(np.nanmean(values[50:60, 30:40].astype("f8")))
    (a, b), (c, d) = overview.cells[
        0, 4:6, 2:4
    ]  # their centres are at rows 44.5, 54.5 and columns 24.5, 34.5
    by_hand = 0.25 * (0.45 * a + 0.55 * b) + 0.75 * (0.45 * c + 0.55 * d)
    assert overview.at(Window(52, 30, 1, 1))[0, 0, 0] == pytest.approx(by_hand)
    np.testing.assert_array_equal(
        overview.at(Window(0, 0, 100, 70))[:, 33:50, 20:31], overview.at(Window(33, 20, 17, 11))
    )


def test_overview_measures_the_widest_gap() -> None:
    values = np.ones((200, 200), "f4")
    values[50:91, 60:101] = np.nan
    assert Overview.of(as_field(values, 30, 30)).gap == 21  # the middle of a gap of 41 pixels
    assert 21 <= Overview.of(as_field(values, 30, 30), most=50).gap <= 21 + 8
    assert Overview.of(as_field(values, 60, 30)).gap == 21


def test_reach_is_learnt_from_the_widest_gap() -> None:
    values = holey(terrain((300, 300)), 0.3)
    assert Cubic().prepare(as_field(values, 30, 30)).halo == 64
    values[100:200, 100:200] = np.nan
    assert 100 <= Cubic().prepare(as_field(values, 30, 30)).halo <= 112
    assert Cubic(reach=80).prepare(as_field(values, 30, 30)).halo == 80


@pytest.mark.parametrize(
    "method",
    [
        Linear(reach=20),
        Cubic(reach=20),
        Rbf(reach=20),
        Idw(reach=20),
        Nearest(reach=20),
        FillNodata(distance=20),
    ],
    ids=lambda m: m.name,
)
def test_windows_that_see_nothing_take_the_overview(method: Method) -> None:
    values = holey(terrain((260, 260)), 0.2)
    values[60:200, 50:220] = np.nan
    ready = method.prepare(as_field(values))
    place = Place((260, 260), Window(100, 100, 80, 80), Window(120, 120, 40, 40))
    empty = ready.complete(values[None, 100:180, 100:180], SPACING, place).mean
    np.testing.assert_allclose(empty, ready.overview.at(place.wanted), rtol=1e-6)
    seen = values[np.isfinite(values)]
    assert seen.min() <= empty.min() <= empty.max() <= seen.max()
    whole = complete(as_field(values), method, variance=False, tile=64)["mean"]
    assert np.isfinite(whole.values).all()


def test_an_unprepared_window_that_sees_nothing_stays_empty() -> None:
    place = Place((200, 200), Window(0, 0, 80, 80), Window(10, 10, 20, 20))
    for method in (Linear(), Rbf(), Idw(), Nearest(), FillNodata()):
        assert np.isnan(method.complete(np.full((1, 80, 80), np.nan, "f4"), SPACING, place).mean).all()
