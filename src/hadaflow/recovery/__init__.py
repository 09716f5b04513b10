"""The main job: measurements in, the sparse vector and the proof of its quality out."""

from hadaflow.recovery._each import recover_each
from hadaflow.recovery._recover import recover

__all__ = ["recover", "recover_each"]
