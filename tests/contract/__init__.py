"""The contract of the seam, run unchanged against every engine."""
