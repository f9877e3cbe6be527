"""Code from git repositories and packed folders: resolved at submit, brought to a folder before the start."""
