"""Integrators of the flow in its dual state."""
