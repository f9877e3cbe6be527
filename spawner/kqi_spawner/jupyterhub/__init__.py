"""Spawner classes that JupyterHub loads."""
