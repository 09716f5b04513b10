"""What vanishing starts make small: a norm, its dual set and its faces."""

from hadaflow.gauges.base import Gauge
from hadaflow.gauges.group_norm import GroupNorm
from hadaflow.gauges.l1 import L1
from hadaflow.gauges.separable import Separable

__all__ = ["L1", "Gauge", "GroupNorm", "Separable"]
