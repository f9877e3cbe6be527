"""The `kqi-hub` command."""
