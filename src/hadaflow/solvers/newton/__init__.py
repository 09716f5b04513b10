"""Damped Newton with continuation in the scale, for the limit of a flow."""
