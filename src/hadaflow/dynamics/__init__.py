"""Four questions about training, one file each."""

from hadaflow.dynamics.descent import descend, descend_batch
from hadaflow.dynamics.flow import flow
from hadaflow.dynamics.limit import limit
from hadaflow.dynamics.saddles import saddles

__all__ = ["descend", "descend_batch", "flow", "limit", "saddles"]
