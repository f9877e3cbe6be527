"""Folders that cannot be removed; for root alone."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def busy(folder: Path) -> Iterator[None]:
    """Hold a folder by a file system of its own, wherever it is moved to meanwhile."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "kqi-test", folder], check=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        yield
    finally:
        place = os.readlink(f"/proc/self/fd/{held}")
        os.close(held)
        subprocess.run(["umount", "-l", place], check=True)
