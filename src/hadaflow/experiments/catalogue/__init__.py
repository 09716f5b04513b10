"""The experiments: every file here is found by itself (docs/adding_an_experiment.md)."""
