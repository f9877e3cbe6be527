"""Jupyter server extension: submit trainings and open TensorBoard from a notebook."""
