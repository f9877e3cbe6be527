"""Datasets: data divided into splits, in versions that freeze when used, laid out once as a tree."""
