"""The hub decides: who may run what, on which data, and what became of it."""
