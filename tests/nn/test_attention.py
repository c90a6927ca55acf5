"""The layers against their formulas, written out pixel by pixel."""

import math

import numpy as np
import pytest
import torch

from geonp.nn.attention import (
    ContextIndex,
    CoordinateEmbedding,
    GlobalCrossAttention,
    LocalPoolingAggregation,
    cross_attention,
    window_weights,
)
from geonp.nn.blocks import ConvEncoder, DeconvDecoder, masked_mean


def seeded(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def aggregate_by_hand(x: np.ndarray, window: int) -> np.ndarray:
    """Eq. 7 and 8: a loop over pixels, the softmax over the neighbours that exist."""
    channels, rows, cols = x.shape
    reach, out = window // 2, np.zeros_like(x)
    for i in range(rows):
        for j in range(cols):
            near = [
                (k, m)
                for k in range(max(i - reach, 0), min(i + reach, rows - 1) + 1)
                for m in range(max(j - reach, 0), min(j + reach, cols - 1) + 1)
            ]
            e = [math.exp(-math.sqrt((k - i) ** 2 + (m - j) ** 2)) for k, m in near]
            for c in range(channels):
                out[c, i, j] = sum(w * x[c, k, m] for w, (k, m) in zip(e, near, strict=True)) / sum(e)
    return out


def attend_by_hand(q: np.ndarray, k: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Eq. 9 with the dot products of eq. 10, for one field."""
    out = np.zeros((len(q), r.shape[1]))
    for i in range(len(q)):
        e = [math.exp(sum(a * b for a, b in zip(q[i], k[j], strict=True))) for j in range(len(k))]
        for j in range(len(k)):
            out[i] += e[j] / sum(e) * r[j]
    return out


@pytest.mark.parametrize("window", [1, 3, 5])
@pytest.mark.parametrize("shape", [(7, 9), (1, 4), (2, 2)])
def test_local_pooling_is_equation_7(window: int, shape: tuple[int, int]) -> None:
    x = seeded(2, 3, *shape)
    got = LocalPoolingAggregation(window)(x)
    for field in range(2):
        np.testing.assert_allclose(got[field], aggregate_by_hand(x[field].numpy(), window), atol=1e-12)


def test_window_weights_fall_with_distance_and_sum_to_one() -> None:
    w = window_weights(3)
    assert w.sum() == pytest.approx(1)
    assert w[1, 1] / w[1, 0] == pytest.approx(math.e)
    assert w[1, 1] / w[0, 0] == pytest.approx(math.exp(math.sqrt(2)))


def test_local_pooling_of_a_constant_is_that_constant_up_to_the_edges() -> None:
    x = torch.full((1, 2, 6, 5), 3.5)
    torch.testing.assert_close(LocalPoolingAggregation(5)(x), x)


@pytest.mark.parametrize("window", [0, 2, -3])
def test_a_window_has_a_middle(window: int) -> None:
    with pytest.raises(ValueError, match="odd"):
        LocalPoolingAggregation(window)


def test_cross_attention_is_equations_9_and_10() -> None:
    q, k, r = seeded(2, 6, 4), seeded(2, 5, 4, seed=1), seeded(2, 5, 3, seed=2)
    valid = torch.tensor([[True] * 5, [True, True, True, False, False]])
    got = cross_attention(q, k, r, valid)
    np.testing.assert_allclose(got[0], attend_by_hand(q[0].numpy(), k[0].numpy(), r[0].numpy()), atol=1e-10)
    np.testing.assert_allclose(
        got[1], attend_by_hand(q[1].numpy(), k[1, :3].numpy(), r[1, :3].numpy()), atol=1e-10
    )


def test_nothing_to_attend_to_gives_zero_with_finite_gradients() -> None:
    q, k, r = (seeded(1, n, 4, seed=n).requires_grad_() for n in (3, 2, 2))
    out = cross_attention(q, k, r, torch.zeros(1, 2, dtype=torch.bool))
    assert (out == 0).all()
    out.sum().backward()
    assert all(x.grad is not None and x.grad.isfinite().all() for x in (q, k, r))


def test_what_stands_in_the_padding_does_not_matter() -> None:
    q, k, r = seeded(1, 3, 4), seeded(1, 5, 4, seed=1), seeded(1, 5, 4, seed=2)
    valid = torch.tensor([[True, True, False, True, False]])
    other = torch.where(valid[..., None], r, 1e6)
    moved = torch.where(valid[..., None], k, -k)
    torch.testing.assert_close(cross_attention(q, k, r, valid), cross_attention(q, moved, other, valid))


def test_a_context_may_be_listed_in_any_order() -> None:
    q, k, r = seeded(1, 3, 4), seeded(1, 6, 4, seed=1), seeded(1, 6, 4, seed=2)
    valid, order = torch.ones(1, 6, dtype=torch.bool), torch.tensor([4, 0, 5, 2, 1, 3])
    torch.testing.assert_close(
        cross_attention(q, k, r, valid), cross_attention(q, k[:, order], r[:, order], valid)
    )


def test_global_cross_attention_uses_one_embedding_for_both() -> None:
    layer = GlobalCrossAttention(6).double()
    where, seen, r = seeded(1, 4, 2), seeded(1, 3, 2, seed=1), seeded(1, 3, 6, seed=2)
    with torch.no_grad():
        got = layer(where, seen, r, torch.ones(1, 3, dtype=torch.bool))[0]
        theta = [layer.embed.theta.weight.numpy() @ hidden(layer.embed, p) for p in (*where[0], *seen[0])]
    np.testing.assert_allclose(
        got, attend_by_hand(np.array(theta[:4]), np.array(theta[4:]), r[0].numpy()), atol=1e-10
    )


def hidden(embed: CoordinateEmbedding, point: torch.Tensor) -> np.ndarray:
    """The coordinate encoder of one point, in numpy."""
    first, second = (
        lambda x, layer=layer: layer.weight.detach().numpy() @ x + layer.bias.detach().numpy()
        for layer in (embed.first, embed.second)
    )
    waves = np.sin(first(point.numpy()))
    return waves + np.sin(second(waves))


def test_attention_is_local_before_training() -> None:
    torch.manual_seed(0)
    embed = CoordinateEmbedding(64)
    points = torch.rand(200, 2) * 2 - 1
    with torch.no_grad():
        likeness = embed(points) @ embed(points).T
    near = torch.cdist(points, points) < 0.1
    far = torch.cdist(points, points) > 1
    assert likeness[near].mean() > likeness[far].mean() + 5
    assert likeness.diagonal().mean() == pytest.approx(12, rel=0.2)


def test_the_context_is_listed_and_padded() -> None:
    mask = torch.zeros(3, 1, 2, 3)
    mask[0, 0, 0, 2] = mask[0, 0, 1, 1] = mask[1, 0, 1, 2] = 1
    image = torch.arange(36.0).view(3, 2, 2, 3)
    context = ContextIndex(mask)
    assert context.valid.tolist() == [[True, True], [True, False], [False, False]]
    listed = context.gather(image)
    assert listed[0].tolist() == [[2, 8], [4, 10]]
    assert listed[1, 0].tolist() == [17, 23]


def test_division_by_the_pooled_mask_is_the_mean_over_known_pixels() -> None:
    features, mask = seeded(2, 3, 4, 5), (seeded(2, 1, 4, 5, seed=3) > 0.3).double()
    got = masked_mean(features * mask, mask)
    for field in range(2):
        want = features[field][:, mask[field, 0] > 0].mean(1)
        torch.testing.assert_close(got[field, :, 0, 0], want)


def test_an_empty_mask_pools_to_zero_with_finite_gradients() -> None:
    features = seeded(1, 3, 4, 5).requires_grad_()
    pooled = masked_mean(features, torch.zeros(1, 1, 4, 5, dtype=torch.float64))
    assert (pooled == 0).all()
    pooled.sum().backward()
    assert features.grad is not None
    assert features.grad.isfinite().all()


def test_an_encoder_without_biases_keeps_zeros() -> None:
    encoder = ConvEncoder(3, 8, 3, stride=2, bias=False)
    assert (encoder(torch.zeros(1, 3, 9, 7)) == 0).all()


@pytest.mark.parametrize("shape", [(1, 1), (7, 9), (16, 16)])
def test_encoder_and_decoder_keep_the_canvas(shape: tuple[int, int]) -> None:
    encoded = ConvEncoder(3, 8, 3)(torch.zeros(2, 3, *shape))
    assert encoded.shape == (2, 8, *shape)
    assert DeconvDecoder(8, 4, 2, 3)(encoded).shape == (2, 2, *shape)
