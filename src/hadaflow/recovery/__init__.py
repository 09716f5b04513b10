"""The main job: measurements in, the sparse vector and the proof of its quality out."""

from hadaflow.recovery._recover import recover

__all__ = ["recover"]
