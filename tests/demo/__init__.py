"""A user's whole day on real input: `make demo`."""
