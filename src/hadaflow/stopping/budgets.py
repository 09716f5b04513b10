"""Rules about effort and time."""

from __future__ import annotations

from dataclasses import dataclass

from hadaflow._rules import Instant
from hadaflow._validation import positive_number, whole_number
from hadaflow.snapshots import Snapshot


@dataclass(frozen=True)
class MaxSteps(Instant):
    """A budget of steps."""

    steps: int
    budget = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", whole_number(self.steps, "steps", minimum=0))

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.step >= self.steps

    def reason(self, snapshot: Snapshot) -> str:
        return "one step was taken" if self.steps == 1 else f"{self.steps} steps were taken"


@dataclass(frozen=True)
class MaxSeconds(Instant):
    """A budget of wall time, in seconds."""

    seconds: float
    budget = True

    def __post_init__(self) -> None:
        positive_number(self.seconds, "seconds")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.seconds >= self.seconds

    def reason(self, snapshot: Snapshot) -> str:
        return f"{self.seconds:g} seconds have passed"


@dataclass(frozen=True)
class MaxTime(Instant):
    """Flow time: that of gradient flow on F, by default ``1/2 ||A x - y||^2``, in the shared factors."""

    time: float

    def __post_init__(self) -> None:
        positive_number(self.time, "time")

    def holds(self, snapshot: Snapshot) -> bool:
        return snapshot.time >= self.time

    def reason(self, snapshot: Snapshot) -> str:
        return f"flow time {self.time:g} was reached"
