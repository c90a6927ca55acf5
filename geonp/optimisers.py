"""How weights follow their gradients: AdamW, or Muon where a network says so.

Muon (Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks") replaces the momentum of a
matrix by the nearest matrix whose singular values are all one: directions in which the loss is flat are learnt as
fast as those in which it is steep. Scaled as by Liu et al. (2025, "Muon is scalable for LLM training",
arXiv:2502.16982, section 2.2) it takes AdamW's learning rates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from geonp.models.base import Model

MOMENTS = {True: ("step", "momentum"), False: ("step", "exp_avg", "exp_avg_sq")}
"""What the optimiser keeps of a weight between steps, by whether it is a hidden layer's kernel."""

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Jordan et al. (2024): steep at zero, so that five iterations bring singular values to between 0.7 and 1.2."""
_ITERATIONS = 5
_MOMENTUM = 0.95
_SIZE = 0.2
"""Root mean square of AdamW's steps, as Liu et al. (2025) took it."""


def optimiser(model: Model, learning_rate: float, weight_decay: float, half: bool = False) -> Muon:
    """Return the optimiser of a network: Muon for what `Model.hidden` names, and AdamW for the rest.

    Parameters
    ----------
    model : the network.
    learning_rate, weight_decay : of both.
    half : iterate in bfloat16, whose rounding is far below how near to one the singular values come.
    """
    hidden = model.hidden()
    known = {id(p) for p in hidden}
    rest: list[Tensor] = [p for p in model.parameters() if id(p) not in known]
    return Muon(hidden, rest, learning_rate, weight_decay, half)


class Muon(torch.optim.AdamW):
    """Muon with Nesterov momentum for the kernels of hidden layers, AdamW for other weights.

    Parameters
    ----------
    hidden : kernels (out, in, ...), taken as matrices with a row for every output; may be none.
    rest : all other weights; may be none.
    learning_rate : of both.
    weight_decay : of both, decoupled from the gradient.
    half : iterate in bfloat16.
    """

    def __init__(
        self,
        hidden: list[Tensor],
        rest: list[Tensor],
        learning_rate: float,
        weight_decay: float,
        half: bool = False,
    ) -> None:
        groups = [{"params": hidden, "hidden": True}, {"params": rest, "hidden": False}]
        super().__init__([g for g in groups if g["params"]], lr=learning_rate, weight_decay=weight_decay)
        self._half = half

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients, and forget those of the hidden kernels."""
        for group in self.param_groups:
            if group["hidden"]:
                self._turn(group["params"], group["lr"], group["weight_decay"])
        super().step()

    def _turn(self, kernels: list[Tensor], rate: float, decay: float) -> None:
        alike: dict[torch.Size, list[Tensor]] = {}
        for kernel in kernels:
            if kernel.grad is not None:
                alike.setdefault(kernel.shape, []).append(kernel)
        for shape, same in alike.items():
            ahead = torch.stack([self._ahead(kernel).flatten(1) for kernel in same])
            steps = orthogonal(ahead.bfloat16() if self._half else ahead).to(ahead)
            size = _SIZE * max(ahead.shape[1:]) ** 0.5
            for kernel, step in zip(same, steps, strict=True):
                kernel.mul_(1 - rate * decay).add_(step.view(shape), alpha=-rate * size)
                kernel.grad = None  # AdamW passes over what has none

    def _ahead(self, kernel: Tensor) -> Tensor:
        """Return the momentum as it will be after the next step (Nesterov)."""
        assert kernel.grad is not None
        state = self.state[kernel]
        if not state:
            state["step"] = torch.tensor(0.0)  # AdamW wants to find one when it is loaded
            state["momentum"] = torch.zeros_like(kernel)
        state["step"] += 1
        momentum: Tensor = state["momentum"].lerp_(kernel.grad, 1 - _MOMENTUM)
        ahead: Tensor = kernel.grad.lerp(momentum, _MOMENTUM)
        return ahead


def orthogonal(matrices: Tensor) -> Tensor:
    """Return about the nearest matrices (N, a, b) with singular values near one, by a Newton-Schulz iteration."""
    a, b, c = _NEWTON_SCHULZ
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    found: Tensor = x.mT if tall else x
    return found
