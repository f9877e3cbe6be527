"""Whose a thing is, and who else may see or change it."""
