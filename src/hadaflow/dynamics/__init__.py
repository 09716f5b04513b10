"""The four questions, one a file: where training is step by step, at time t, in the end, and as the start vanishes."""

from hadaflow.dynamics.limit import limit
from hadaflow.dynamics.saddles import saddles

__all__ = ["limit", "saddles"]
