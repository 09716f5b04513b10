"""The loops in PyTorch that hadaflow.descend is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Loops:
    """Hand-written loops in PyTorch."""

    torch: Any
    matrix: Any
    y: Any

    def autograd(self, depth: int, count: int) -> Any:
        """As the code of paper B does it."""
        torch, matrix, y, step = self.torch, self.matrix, self.y, 0.2 / depth**2
        u, v = (torch.full((matrix.shape[1],), 1e-6 ** (1 / depth), requires_grad=True) for _ in range(2))
        for _ in range(count):
            loss = ((matrix @ (u**depth - v**depth) - y) ** 2).mean()
            loss.backward()
            with torch.no_grad():
                u -= step * u.grad
                v -= step * v.grad
            u.grad = v.grad = None
        return (u**depth - v**depth).detach().numpy()

    def explicit(self, depth: int, count: int) -> Any:
        """With the gradient written out."""
        torch, matrix, y, step = self.torch, self.matrix, self.y, 0.2 / depth**2
        scale = 2 * depth * step / len(y)
        with torch.no_grad():
            u, v = (torch.full((matrix.shape[1],), 1e-6 ** (1 / depth)) for _ in range(2))
            for _ in range(count):
                move = scale * (matrix.T @ (matrix @ (u**depth - v**depth) - y))
                u, v = u - move * u ** (depth - 1), v + move * v ** (depth - 1)
            return (u**depth - v**depth).numpy()
