"""Implicit steps along the saddle path, for an A that is known by its products alone."""
