"""The neural processes over points: CNP, NP and their attentive kin, against their formulas."""

import pytest
import torch

from geonp.errors import ModelError
from geonp.models import config_from, create
from geonp.tasks import Task, coordinates


def task(bands: int = 1, share: float = 0.4) -> Task:
    g = torch.Generator().manual_seed(0)
    context = (torch.rand(2, 1, 5, 6, generator=g) < share).float()
    values = torch.randn(2, bands, 5, 6, generator=g)
    return Task(values, context, 1 - context, torch.tensor([[30.0, 20.0]]).expand(2, 2))


def network(name: str, **settings: object) -> torch.nn.Module:
    return create(name, config_from(name, {"channels": 16, **settings}), seed=1)


@torch.no_grad()
def test_a_cnp_is_the_mean_of_its_points_decoded_at_every_pixel() -> None:
    net, given = network("cnp", bands=2), task(2)
    told, matrix = net(given), coordinates(given)
    for b in range(2):
        seen = given.context[b, 0].nonzero().tolist()
        points = torch.stack([torch.cat([matrix[b, :, i, j], given.values[b, :, i, j]]) for i, j in seen])
        r = net.encoder(points.flip(0)).mean(0)
        torch.testing.assert_close(net.represent(given, matrix)[b], r)
        for i, j in ((0, 0), (4, 3)):
            out = net.decoder(torch.cat([matrix[b, :, i, j], r]))
            torch.testing.assert_close(told.mean[b, :, i, j], out[:2])
            torch.testing.assert_close(
                told.std[b, :, i, j], 0.01 + torch.nn.functional.softplus(out[2:]), rtol=1e-4, atol=1e-6
            )


@torch.no_grad()
def test_the_deterministic_path_is_attention_from_pixels_to_context() -> None:
    net, given = network("acnp", heads=2), task()
    matrix = coordinates(given)
    path, found = net.path, net.path(given, matrix)
    for b in range(2):
        seen = given.context[b, 0] > 0
        where, values = matrix[b].permute(1, 2, 0), given.values[b, 0]
        context = torch.cat([where[seen], values[seen][:, None]], 1)
        q = path.attention.query(path.embed(where.reshape(-1, 2)))
        k, v = path.attention.key(path.embed(where[seen])), path.attention.value(path.encoder(context))
        heads = [
            torch.softmax(q[:, s] @ k[:, s].T / 8**0.5, 1) @ v[:, s] for s in (slice(0, 8), slice(8, 16))
        ]
        want = path.attention.merge(torch.cat(heads, 1)).T.view(16, 5, 6)
        torch.testing.assert_close(found[b], want, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attention_tells_pixels_apart_where_a_mean_cannot() -> None:
    """Context representations reach a pixel by its own weights: r* differs from pixel to pixel."""
    net, given = network("anp"), task()
    attended = net.attend(given, coordinates(given))
    assert attended.shape == (2, 16, 5, 6)
    assert attended.flatten(2).std(2).min() > 0


@torch.no_grad()
def test_the_latent_vector_is_one_for_the_whole_field() -> None:
    net, given = network("np", latent=3), task()
    matrix = coordinates(given)
    latent = net.encode(given, matrix)
    assert latent.mean.shape == latent.std.shape == (2, 3)
    assert ((latent.std > 0.01) & (latent.std < 1)).all()
    moved = net.decode(latent.mean + 1, matrix, None)
    assert not torch.allclose(moved.mean, net(given).mean)


def test_heads_share_the_channels() -> None:
    for name in ("acnp", "anp"):
        with pytest.raises(ModelError, match="multiple of heads"):
            config_from(name, {"channels": 12, "heads": 8})
