"""The root file system that images stand on where no registry of images can be reached: made of Debian's packages."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
from pathlib import Path

from images.machine import mirror

SUITE = "trixie"
_HOLDS = "ca-certificates"
# What nobody reads in a container. The licences stay.
_LEFT_OUT = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"),
    "/usr/share/bug/*",
)
_KEPT = ("/usr/share/doc/*/copyright", "/usr/share/locale/locale.alias")
_WITHOUT_SOURCES = ('--customize-hook=: >"$1/etc/apt/sources.list"',)


class CannotBuild(Exception):
    """Says what is missing and how to get it, or what failed."""


def cache() -> Path:
    """Return the folder outside of the checkout where builds keep what they need again."""
    found = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "kqi-images")
    found.mkdir(parents=True, exist_ok=True)
    return found


def archive(suite: str = SUITE, *, include: tuple[str, ...] = (), fresh: bool = False) -> Path:
    """Return a tar of the suite's newest packages, made if missing or if a `fresh` one is asked for."""
    words = _options(suite, include)
    name = f"rootfs-{suite}-{platform.machine()}"
    target = cache() / f"{name}-{hashlib.sha256(repr(words).encode()).hexdigest()[:12]}.tar"
    with (cache() / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fresh or not target.exists():
            _make(suite, words, target)
    return target


def _make(suite: str, words: list[str], target: Path) -> None:
    program = shutil.which("mmdebstrap")
    if program is None:
        raise CannotBuild("mmdebstrap makes the base: apt-get install mmdebstrap; or name an image: BASE=debian:trixie")
    building = target.with_name(f".{target.name}")
    used = mirror()
    # Without a mirror of the machine's own the program knows where Debian is, and the image keeps that.
    source = ["-"] if used else []
    sources = used.sources(suite) if used else ""
    words = [program, *words, *(_WITHOUT_SOURCES if used else ()), suite, str(building), *source]
    done = subprocess.run(words, input=sources, capture_output=True, text=True)
    if done.returncode != 0:
        building.unlink(missing_ok=True)
        raise CannotBuild(f"the base could not be made:\n{done.stderr[-3000:]}")
    building.rename(target)


def _options(suite: str, include: tuple[str, ...]) -> list[str]:
    return [
        *("--variant=minbase", "--format=tar", f"--include={','.join((_HOLDS, *include))}"),
        *(f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT),
        *(f"--dpkgopt=path-include={path}" for path in _KEPT),
        '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/var/log/* "$1"/etc/resolv.conf',
        '--customize-hook=: >"$1/etc/hostname"; : >"$1/etc/machine-id"',
    ]
