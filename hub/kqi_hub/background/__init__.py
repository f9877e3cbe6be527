"""Loops of the service: woken by what happens in any of its processes, run by the one that holds the lease."""
