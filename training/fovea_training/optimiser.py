"""Muon for matrices, Adam for the rest, in one optimiser with one state."""

import collections.abc
import math

import torch
from torch import nn

_MATRICES = "q_proj k_proj v_proj out_proj o_proj fc1 fc2 gate_proj up_proj down_proj linear_1 linear_2 maps".split()
_NEWTON_SCHULZ = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients of the orthogonalising iteration (Jordan et al., Muon; quintic, one set a step)."""


class Muon(torch.optim.Optimizer):
    """Groups carry `scale`: their learning rate is `rate * scale`."""

    def __init__(self, modules: collections.abc.Iterable[nn.Module], matrix_scale: float = 3.0, embedding_scale: float = 5.0):
        matrices, embeddings, others = [], [], []
        for module in modules:
            for name, parameter in module.named_parameters():
                if not parameter.requires_grad:
                    continue
                if parameter.ndim == 2 and any(part in name for part in _MATRICES):
                    matrices.append(parameter)
                elif "embed_tokens" in name or "codes" in name:
                    embeddings.append(parameter)
                else:
                    others.append(parameter)
        groups = [
            dict(params=matrices, scale=matrix_scale, matrix=True),
            dict(params=embeddings, scale=embedding_scale, matrix=False),
            dict(params=others, scale=1.0, matrix=False),
        ]
        super().__init__([group for group in groups if group["params"]], dict(decay=0.01, momentum=0.95, betas=(0.9, 0.98), rate=1e-3))

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            rate = group["rate"] * group["scale"]
            (self._matrix_step if group["matrix"] else self._adam_step)(group, rate)

    def _adam_step(self, group: dict, rate: float) -> None:
        first, second = group["betas"]
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state.update(mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter), steps=0)
            state["steps"] += 1
            state["mean"].lerp_(parameter.grad, 1 - first)
            state["square"].lerp_(parameter.grad.square(), 1 - second)
            if parameter.ndim > 1:
                parameter.mul_(1 - rate * group["decay"])
            scale = (state["square"] / (1 - second ** state["steps"])).sqrt_().add_(1e-8)
            parameter.addcdiv_(state["mean"] / (1 - first ** state["steps"]), scale, value=-rate)

    def _matrix_step(self, group: dict, rate: float) -> None:
        by_shape: dict[torch.Size, list[tuple[nn.Parameter, torch.Tensor]]] = {}
        for parameter in group["params"]:
            if parameter.grad is None:
                continue
            state = self.state[parameter]
            if not state:
                state["mean"] = torch.zeros_like(parameter)
            state["mean"].lerp_(parameter.grad, 1 - group["momentum"])
            by_shape.setdefault(parameter.shape, []).append((parameter, parameter.grad.lerp(state["mean"], group["momentum"])))
        for shape, members in by_shape.items():
            updates = _orthogonalised(torch.stack([update for _, update in members]))
            for (parameter, _), update in zip(members, updates):
                parameter.mul_(1 - rate * group["decay"])
                parameter.add_(update, alpha=-rate * 0.2 * math.sqrt(max(shape)))


def _orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """[n, rows, columns] -> the same with singular values near 1."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).bfloat16()
    for a, b, c in _NEWTON_SCHULZ:
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).float()


def schedule(progress: float, step: int, warm_up: int = 50, cooling: float = 0.3, floor: float = 0.03) -> float:
    """Factor of the learning rate: short warm-up, constant, then linearly down during the last part of the budget."""
    down = 1.0 if progress < 1 - cooling else max(floor, (1 - progress) / cooling)
    return min(1.0, (step + 1) / warm_up) * down
