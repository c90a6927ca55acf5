"""The residual network against its formula, written with its own weights a second time."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from geonp.nn.encoders import encoder
from geonp.nn.residual import ResidualCNN
from tests.nn.draws import seeded


def residual_by_hand(block: ResidualCNN, x: Tensor) -> Tensor:
    weights = dict(block.named_parameters())

    def separable(h: Tensor, key: str) -> Tensor:
        kernels = weights[f"{key}.0.weight"]
        spatial = torch.cat(
            [
                functional.conv2d(h[:, c : c + 1], kernels[c : c + 1], padding=block.kernel // 2)
                for c in range(h.shape[1])
            ],
            1,
        )
        spatial = spatial + weights[f"{key}.0.bias"][:, None, None]
        mixed = torch.einsum("oc,bchw->bohw", weights[f"{key}.1.weight"][:, :, 0, 0], spatial)
        return mixed + weights[f"{key}.1.bias"][:, None, None]

    h = (
        torch.einsum("oc,bchw->bohw", weights["enter.weight"][:, :, 0, 0], x)
        + weights["enter.bias"][:, None, None]
    )
    for i in range(len(block.blocks)):
        h = h + separable(separable(h.clamp_min(0), f"blocks.{i}.first").clamp_min(0), f"blocks.{i}.second")
    return (
        torch.einsum("oc,bchw->bohw", weights["leave.weight"][:, :, 0, 0], h.clamp_min(0))
        + weights["leave.bias"][:, None, None]
    )


def test_the_residual_network_is_its_formula() -> None:
    block, x = ResidualCNN(3, 4, 6, depth=2, kernel=5).double(), seeded(2, 3, 9, 8)
    torch.testing.assert_close(block(x), residual_by_hand(block, x))


def test_the_residual_network_has_the_report_s_size() -> None:
    block = encoder("residual", 2, 128, 128)
    spatial = [m for m in block.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (9, 9)]
    assert len(spatial) == 10
