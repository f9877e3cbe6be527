"""Runs: one kind of thing for trainings and notebooks, recorded by `service`, acted on by `reconcile`."""
