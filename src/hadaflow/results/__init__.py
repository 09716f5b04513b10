"""What the library hands back: frozen records with named fields."""

from hadaflow.results.answer import Answer, Outcome
from hadaflow.results.limit import Limit
from hadaflow.results.recoveries import Recoveries
from hadaflow.results.recovery import Recovery
from hadaflow.results.status import Progress, ProgressCallback, Stats, Status

__all__ = ["Answer", "Limit", "Outcome", "Progress", "ProgressCallback", "Recoveries", "Recovery", "Stats", "Status"]
