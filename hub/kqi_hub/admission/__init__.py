"""Who may start now: capacity, limits, and one first-in-first-out queue over runs and notebooks."""
