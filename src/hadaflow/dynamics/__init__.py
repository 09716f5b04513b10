"""Four questions about training, one file each: the doors. The engines behind them are in :mod:`hadaflow.solvers`."""
