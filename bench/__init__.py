"""Benchmarks, each side by side with a named peer in one run; the peer's answers are checked."""
