"""Engines: how the questions of :mod:`hadaflow.dynamics` are answered. Not public; each folder says whose it is."""
