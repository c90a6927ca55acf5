import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geonp.errors import ModelError, UsageError
from geonp.scaling import Fixed, Standardise, dumps, loads

seeds = st.integers(0, 2**32 - 1)
calm = settings(deadline=None)


def batch(seed: int = 0, b: int = 3, c: int = 2, size: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.normal(size=(b, c, size, size)).astype("f4"))
    context = torch.from_numpy(rng.random((b, 1, size, size)) < 0.5)
    context[:, :, 0, :2] = True
    return values, context.float()


def test_standardising_takes_the_mean_and_deviation_of_each_context():
    values, context = batch()
    scale = Standardise().fit(values * 7 + 1000, context)
    for b in range(3):
        seen = (values * 7 + 1000).numpy()[b][:, context[b, 0].numpy() > 0].astype("f8")
        np.testing.assert_allclose(scale.offset[b, :, 0, 0], seen.mean(1), rtol=1e-6)
        np.testing.assert_allclose(scale.scale[b, :, 0, 0], seen.std(1), rtol=1e-5)


def test_what_stands_outside_the_context_is_not_read():
    values, context = batch()
    poisoned = torch.where(context > 0, values, torch.nan)
    clean, dirty = Standardise().fit(values, context), Standardise().fit(poisoned, context)
    assert torch.equal(clean.offset, dirty.offset)
    assert torch.equal(clean.scale, dirty.scale)


@calm
@given(seeds, st.floats(-9000, 9000), st.floats(-6, 4))
def test_a_field_comes_back_from_its_scale(seed, offset, power):
    values, context = batch(seed)
    values = values * 10**power + offset
    for scaling in (Standardise(), Fixed((offset, 0.0), (10**power, 3.0))):
        scale = scaling.fit(values, context)
        back = scale.invert_mean(scale.apply(values))
        largest = values.abs().max() + scale.offset.abs().max()
        assert (back - values).abs().max() <= 4e-7 * largest


@calm
@given(seeds, st.floats(0.01, 100))
def test_variances_scale_as_the_square(seed, factor):
    values, context = batch(seed)
    scale = Fixed((5.0,), (factor,)).fit(values, context)
    spread = scale.apply(values).var()
    torch.testing.assert_close(scale.invert_variance(spread).flatten()[0], values.var(), rtol=1e-4, atol=0)
    torch.testing.assert_close(scale.invert_std(spread.sqrt()) ** 2, scale.invert_variance(spread))


def test_units_and_level_of_a_field_leave_no_trace():
    values, context = batch()
    for a, b in ((0.3048, 0), (-1e-4, 0), (1000, -40), (1, 500)):
        scaled = Standardise().fit(values * a + b, context).apply(values * a + b)
        plain = Standardise().fit(values, context).apply(values)
        torch.testing.assert_close(scaled, plain * np.sign(a), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("constant", [0.0, 0.1, -273.15, 8848.86, 1e-20, 1e20])
def test_a_constant_context_gives_that_constant_and_hardly_a_variance(constant):
    values = torch.full((1, 1, 8, 8), constant)
    context = torch.ones(1, 1, 8, 8)
    scale = Standardise().fit(values, context)
    assert scale.scale.item() > 0
    scaled = scale.apply(values)
    assert scaled.isfinite().all()
    assert scaled.abs().max() <= 1
    torch.testing.assert_close(scale.invert_mean(scaled), values, rtol=1e-6, atol=1e-12)
    assert scale.invert_variance(torch.ones(1)).item() <= max(1e-12 * constant**2 * 1.01, 1e-24 * 1.01)


def test_one_pixel_is_a_constant_and_none_is_left_as_it_is():
    values, _ = batch(b=1)
    one = torch.zeros(1, 1, 9, 9)
    none = Standardise().fit(values, one)
    assert torch.equal(none.apply(values), values)
    one[0, 0, 4, 4] = 1
    assert torch.equal(Standardise().fit(values, one).offset[0, :, 0, 0], values[0, :, 4, 4])


def test_a_small_relief_on_a_great_height_keeps_its_shape():
    values, context = batch()
    scale = Standardise().fit(values * 0.05 + 8000, context)
    exact = (values * 0.05 + 8000).double()
    seen = exact[0, 0][context[0, 0] > 0]
    assert scale.scale[0, 0].item() == pytest.approx(seen.std(correction=0).item(), rel=1e-3)


def test_fixed_scales_belong_to_their_bands():
    values = torch.ones(2, 3, 2, 2)
    scale = Fixed((0.0, 1.0, 2.0), (1.0, 2.0, 4.0)).fit(values, torch.ones(2, 1, 2, 2))
    assert scale.apply(values)[1, :, 0, 0].tolist() == [1.0, 0.0, -0.25]
    with pytest.raises(UsageError, match="2 bands and the field 3"):
        Fixed((0.0, 1.0), (1.0, 1.0)).fit(values, values[:, :1])


@pytest.mark.parametrize(
    ("offset", "scale"),
    [((0,), (0,)), ((0,), (-1,)), ((), ()), ((0, 1), (1,)), ((float("nan"),), (1,)), ((0,), (float("inf"),))],
)
def test_scales_that_cannot_be_undone_are_refused(offset, scale):
    with pytest.raises(UsageError):
        Fixed(offset, scale)


@pytest.mark.parametrize("scaling", [Standardise(), Fixed((0.0,), (9.0,)), Fixed((0.1, -3.0), (1 / 3, 1e-9))])
def test_a_scaling_is_read_back_from_its_text(scaling):
    assert loads(dumps(scaling)) == scaling


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", "3", '{"kind": "other"}', '{"kind": "fixed"}'),
        '{"kind": "fixed", "offset": [0], "scale": [0]}',
        '{"kind": "fixed", "offset": ["x"], "scale": [1]}',
    ],
)
def test_text_that_is_no_scaling_is_a_model_error(text):
    with pytest.raises(ModelError):
        loads(text)
