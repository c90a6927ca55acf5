"""Every attention against its formula, written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from geonp.errors import UsageError
from geonp.nn.attentions import ATTENTIONS, attention
from geonp.nn.crisscross import CrissCross
from geonp.nn.dual import DualAttention
from geonp.nn.globalcontext import GlobalContext
from geonp.nn.imageblock import ImageBlock
from geonp.nn.nonlocal_block import (
    ConcatenationNonLocal,
    DotProductNonLocal,
    EmbeddedGaussianNonLocal,
    GaussianNonLocal,
    NonLocal,
)
from geonp.nn.squeeze import SqueezeExcitation
from tests.nn.draws import applied, awake, seeded

Array = NDArray[np.float64]

NON_LOCAL = [GaussianNonLocal, EmbeddedGaussianNonLocal, DotProductNonLocal, ConcatenationNonLocal]
IDENTITIES = [name for name in ATTENTIONS if name != "squeeze-excitation"]


def matrix(layer: nn.Module) -> Array:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.detach().flatten(1).numpy()


def vector(layer: nn.Module) -> Array:
    bias = layer.bias
    assert isinstance(bias, torch.Tensor)
    return bias.detach().numpy()


def softmax(scores: list[float]) -> list[float]:
    e = [math.exp(s) for s in scores]
    return [x / sum(e) for x in e]


def windows(image: Array, side: int) -> list[Array]:
    """The maximum of every channel over windows of side x side pixels."""
    _, rows, columns = image.shape
    return [
        image[:, i : i + side, j : j + side].max((1, 2))
        for i in range(0, rows, side)
        for j in range(0, columns, side)
    ]


def embedded(weights: Array, image: Array) -> Array:
    out = np.zeros((len(weights), *image.shape[1:]))
    for i in range(image.shape[1]):
        for j in range(image.shape[2]):
            out[:, i, j] = weights @ image[:, i, j]
    return out


def non_local_by_hand(block: NonLocal, x: Array) -> Array:
    """Eq. 1 and 6, pair by pair."""
    side, out = block.subsample, np.zeros_like(x)
    g = windows(embedded(matrix(block.g), x), side)
    if isinstance(block, GaussianNonLocal):
        theta, phi = x, windows(x, side)
    else:
        assert isinstance(block, EmbeddedGaussianNonLocal | DotProductNonLocal | ConcatenationNonLocal)
        theta = embedded(matrix(block.theta), x)
        phi = windows(embedded(matrix(block.phi), x), side)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            here = theta[:, i, j]
            if isinstance(block, ConcatenationNonLocal):
                w_f = np.concatenate((matrix(block.of_theta)[0], matrix(block.of_phi)[0]))
                f = [max(float(w_f @ np.concatenate((here, there))), 0.0) for there in phi]
                total = float(len(phi))
            elif isinstance(block, DotProductNonLocal):
                f = [float(here @ there) for there in phi]
                total = float(len(phi))
            else:
                f = [math.exp(here @ there) for there in phi]
                total = sum(f)
            y = sum(fj * gj for fj, gj in zip(f, g, strict=True)) / total
            out[:, i, j] = matrix(block.merge) @ y + x[:, i, j]
    return out


@pytest.mark.parametrize("kind", NON_LOCAL)
@pytest.mark.parametrize("subsample", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (1, 1)])
def test_non_local_is_equations_1_to_6(kind: type[NonLocal], subsample: int, shape: tuple[int, int]) -> None:
    block, x = awake(kind(5, subsample)), seeded(2, 5, *shape)
    got = applied(block, x)
    for n in range(2):
        np.testing.assert_allclose(got[n], non_local_by_hand(block, x[n].numpy()), atol=1e-12)


@pytest.mark.parametrize("kind", NON_LOCAL)
def test_sub_sampling_changes_nothing_where_every_window_is_constant(kind: type[NonLocal]) -> None:
    full, sparse = awake(kind(6, 1)), awake(kind(6, 2))
    x = seeded(1, 6, 3, 4).repeat_interleave(2, 2).repeat_interleave(2, 3)
    np.testing.assert_allclose(applied(sparse, x), applied(full, x), atol=1e-12)
    rough = x + seeded(1, 6, 6, 8, seed=1)
    assert not np.allclose(applied(sparse, rough), applied(full, rough))


@pytest.mark.parametrize("kind", NON_LOCAL)
def test_sub_sampling_reads_every_pixel_up_to_an_odd_edge(kind: type[NonLocal]) -> None:
    block, x = awake(kind(4, 2)), seeded(1, 4, 5, 7)
    moved = x.clone()
    moved[:, :, -1, -1] += 3.0
    # Elsewhere the image is as it was, so a change there has come through the attention.
    assert np.abs(applied(block, moved) - applied(block, x))[:, :, :4, :4].max() > 1e-6


@pytest.mark.parametrize("kind", [GaussianNonLocal, EmbeddedGaussianNonLocal])
def test_softmax_weights_sum_to_one(kind: type[NonLocal]) -> None:
    block, x = awake(kind(4)), seeded(1, 4, 5, 6)
    x[:, 0] = 1.0
    with torch.no_grad():
        block.g.weight.zero_()
        block.g.weight[:, 0] = 1.0
        y = block.respond(x, block.pooled(block.g(x)))
    torch.testing.assert_close(y, torch.ones_like(y))


def test_squeeze_and_excitation_is_equations_2_to_4() -> None:
    block, x = awake(SqueezeExcitation(6, reduction=3)), seeded(2, 6, 4, 5)
    got = applied(block, x)
    for n in range(2):
        z = [x[n, c].numpy().sum() / 20 for c in range(6)]
        hidden = np.maximum(matrix(block.first) @ z + vector(block.first), 0)
        s = 1 / (1 + np.exp(-(matrix(block.second) @ hidden + vector(block.second))))
        for c in range(6):
            np.testing.assert_allclose(got[n, c], s[c] * x[n, c].numpy(), atol=1e-12)


def criss_cross_by_hand(block: CrissCross, h: Array) -> Array:
    """One pass of eq. 1 and 2: a list of the pixels of the cross, the pixel itself once."""
    _, rows, columns = h.shape
    q, k, v = (
        embedded(matrix(layer), h) + vector(layer)[:, None, None]
        for layer in (block.query, block.key, block.value)
    )
    gamma, out = block.gamma.item(), np.zeros_like(h)
    for y in range(rows):
        for x in range(columns):
            cross = [(i, x) for i in range(rows)] + [(y, j) for j in range(columns) if j != x]
            weights = softmax([float(q[:, y, x] @ k[:, i, j]) for i, j in cross])
            found = sum(w * v[:, i, j] for w, (i, j) in zip(weights, cross, strict=True))
            out[:, y, x] = gamma * found + h[:, y, x]
    return out


@pytest.mark.parametrize("shape", [(4, 6), (5, 3), (1, 4), (3, 1), (1, 1)])
def test_criss_cross_is_equations_1_and_2_twice(shape: tuple[int, int]) -> None:
    block, x = awake(CrissCross(9)), seeded(2, 9, *shape)
    got = applied(block, x)
    for n in range(2):
        once = criss_cross_by_hand(block, x[n].numpy())
        np.testing.assert_allclose(got[n], criss_cross_by_hand(block, once), atol=1e-11)


def test_criss_cross_weights_sum_to_one() -> None:
    column, row = awake(CrissCross(8)).weights(seeded(2, 8, 5, 7))
    torch.testing.assert_close(column.sum(3) + row.sum(3), torch.ones(2, 5, 7, dtype=torch.float64))
    assert (torch.diagonal(column, dim1=1, dim2=3) == 0).all()


@pytest.mark.parametrize(("passes", "reached"), [(1, 5 + 7 - 1), (2, 5 * 7)])
def test_criss_cross_reaches_its_cross_once_and_everything_twice(passes: int, reached: int) -> None:
    block, x = awake(CrissCross(8, passes)), seeded(1, 8, 5, 7).requires_grad_()
    block(x)[0, :, 2, 3].sum().backward()
    assert x.grad is not None
    assert int((x.grad[0].abs().sum(0) > 0).sum()) == reached


def test_dual_attention_is_equations_1_to_4() -> None:
    block, x = awake(DualAttention(9)), 0.3 * seeded(2, 9, 3, 4)
    got = applied(block, x)
    for n in range(2):
        a = x[n].numpy().reshape(9, 12)
        b, c, d = (matrix(layer) @ a + vector(layer)[:, None] for layer in (block.b, block.c, block.d))
        out = a.copy()
        for j in range(12):
            s = softmax([float(b[:, i] @ c[:, j]) for i in range(12)])
            out[:, j] += block.alpha.item() * sum(s[i] * d[:, i] for i in range(12))
        for j in range(9):
            s = softmax([float(a[i] @ a[j]) for i in range(9)])
            out[j] += block.beta.item() * sum(s[i] * a[i] for i in range(9))
        np.testing.assert_allclose(got[n], out.reshape(9, 3, 4), atol=1e-12)


def test_dual_attention_weights_sum_to_one() -> None:
    block, x = awake(DualAttention(8)), torch.ones(1, 8, 4, 5, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(block.by_position(x), block.d(x))
        torch.testing.assert_close(block.by_channel(x), x)


def test_global_context_is_equation_5() -> None:
    block, x = awake(GlobalContext(16)), seeded(2, 16, 3, 5)
    got = applied(block, x)
    for n in range(2):
        flat = x[n].numpy().reshape(16, 15)
        a = softmax(
            [float(matrix(block.key)[0] @ flat[:, j]) + float(vector(block.key)[0]) for j in range(15)]
        )
        context = sum(a[j] * flat[:, j] for j in range(15))
        hidden = matrix(block.first) @ context + vector(block.first)
        normal = (hidden - hidden.mean()) / math.sqrt(hidden.var() + 1e-5)
        scaled = normal * block.norm.weight.detach().numpy() + vector(block.norm)
        change = matrix(block.second) @ np.maximum(scaled, 0) + vector(block.second)
        np.testing.assert_allclose(got[n], x[n].numpy() + change[:, None, None], atol=1e-12)


def test_global_context_weights_sum_to_one() -> None:
    weights = awake(GlobalContext(8)).weights(seeded(2, 8, 4, 5))
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 1, dtype=torch.float64))


@pytest.mark.parametrize("name", IDENTITIES)
def test_a_new_attention_is_the_identity(name: str) -> None:
    x = seeded(2, 16, 6, 7)
    np.testing.assert_array_equal(applied(attention(name, 16).double(), x), x)


def test_squeeze_and_excitation_weighs_between_zero_and_one() -> None:
    weights = awake(SqueezeExcitation(16)).weights(seeded(2, 16, 6, 7))
    assert weights.shape == (2, 16, 1, 1)
    assert ((weights > 0) & (weights < 1)).all()


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("channels", [1, 7, 16])
@pytest.mark.parametrize("shape", [(37, 53), (1, 1), (2, 5)])
def test_an_attention_keeps_the_shape(name: str, channels: int, shape: tuple[int, int]) -> None:
    block = awake(attention(name, channels))
    got = applied(block, seeded(2, channels, *shape))
    assert got.shape == (2, channels, *shape)
    assert np.isfinite(got).all()


@pytest.mark.parametrize("name", [n for n in ATTENTIONS if n != "none"])
def test_gradients_reach_every_parameter_and_pixel(name: str) -> None:
    block, x = awake(attention(name, 16)), (0.3 * seeded(2, 16, 5, 7)).requires_grad_()
    (block(x) * seeded(2, 16, 5, 7, seed=3)).sum().backward()
    assert x.grad is not None
    assert (x.grad != 0).all()
    for key, parameter in block.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
        # A constant added to the scores of a softmax changes nothing.
        if (name, key) not in {
            ("global-context", "key.bias"),
            ("criss-cross", "key.bias"),
            ("dual", "b.bias"),
        }:
            assert parameter.grad.abs().max() > 1e-12, key


@pytest.mark.parametrize("name", [n for n in IDENTITIES if n != "none"])
def test_training_wakes_a_new_attention(name: str) -> None:
    torch.manual_seed(0)
    block, x = attention(name, 16).double(), seeded(2, 16, 5, 7)
    (block(x) * seeded(2, 16, 5, 7, seed=3)).sum().backward()
    assert any(p.grad is not None and p.grad.abs().max() > 1e-9 for p in block.parameters())


@pytest.mark.parametrize("name", ["non-local-gaussian", "non-local-embedded", "dual", "criss-cross"])
def test_large_values_overflow_no_softmax(name: str) -> None:
    block: ImageBlock = awake(attention(name, 8))
    assert np.isfinite(applied(block, 1e3 * seeded(1, 8, 6, 6))).all()


def test_an_unknown_attention_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'crisscross'.*criss-cross, dual, global-context"):
        attention("crisscross", 8)
