"""Recipes: a run and its resolved inputs become a `Workload`. Pure."""

from kqi_hub.runs.kinds.inputs import Inputs
from kqi_hub.runs.kinds.recipes import TABLE

__all__ = ["TABLE", "Inputs"]
