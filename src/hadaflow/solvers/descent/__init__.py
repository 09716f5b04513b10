"""Gradient descent on the factors, step by step."""
