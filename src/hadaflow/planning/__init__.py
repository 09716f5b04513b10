"""What a problem larger than memory will take: memory, messages and seconds for each pass over A."""

from hadaflow.planning._costs import Costs
from hadaflow.planning._plan import PASSES as PASSES
from hadaflow.planning._plan import Plan, plan

__all__ = ["Costs", "Plan", "plan"]
