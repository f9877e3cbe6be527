"""What every process shows of itself to root."""

from pathlib import Path


def shown() -> dict[str, bytes]:
    """Return the words and variables of every process, by their place below `/proc`."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            for name in ("cmdline", "environ"):
                try:
                    found[str(folder / name)] = (folder / name).read_bytes()
                except OSError:
                    continue
    return found
