"""Homotopy: the saddle path, jump by jump, and its exact end."""
