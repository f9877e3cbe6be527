"""Gathers /kqi/tools: programs with a loader and libraries of their own, which run whatever an image holds, or lacks.

Every program names its loader by an absolute path and finds its libraries in `lib`, before those of the image and
whatever LD_LIBRARY_PATH says. Nothing is said to what it starts, so programs of the image stay what they are.
`programs` copies what comes from Debian; `bind` sees to whatever lies in the tree by then, and may be repeated.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TOOLS = Path("/kqi/tools")
LIB = TOOLS / "lib"
_PROGRAMS = ("git-lfs", "unzip", "zip")
# What the parent of a workload needs, and what people expect of a shell; an image's own come first.
_APPLETS = (
    *("awk", "basename", "cat", "chmod", "cp", "cut", "date", "df", "dirname", "du", "env", "find", "free", "grep"),
    *("gunzip", "gzip", "head", "hostname", "id", "kill", "less", "ln", "ls", "md5sum", "mkdir", "mktemp", "mv"),
    *("nohup", "ps", "pwd", "readlink", "realpath", "rm", "sed", "seq", "setsid", "sha256sum", "sleep", "sort"),
    *("stat", "tail", "tar", "tee", "timeout", "top", "touch", "tr", "uname", "uniq", "vi", "wc", "wget", "which"),
    "xargs",
)
_KERNELS = TOOLS / "kernel"
# The loader and the C library are one thing: neither takes a path, both are there before anything else.
_CORE = ("ld-linux", "libc.so", "ld64.so")


def programs() -> None:
    """Copy programs, Python and git."""
    (TOOLS / "bin").mkdir(parents=True, exist_ok=True)
    LIB.mkdir(exist_ok=True)
    for name in _PROGRAMS:
        shutil.copy2(shutil.which(name) or name, TOOLS / "bin" / name)
    shutil.copy2(shutil.which("busybox") or "busybox", TOOLS / "bin" / "busybox")
    for name in _APPLETS:
        (TOOLS / "bin" / name).symlink_to("busybox")
    _python()
    _git()
    _authorities()


def _python() -> None:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy2(f"/usr/bin/{name}", TOOLS / "bin" / name)
    for link in ("python3", "python"):
        (TOOLS / "bin" / link).symlink_to(name)
    left_out = shutil.ignore_patterns("test", "tests", "idlelib", "__pycache__", "EXTERNALLY-MANAGED", "turtledemo")
    shutil.copytree(f"/usr/lib/{name}", LIB / name, symlinks=False, ignore=left_out)
    # Where `python3 -m venv` takes pip from: not Debian's, which wants that system's authorities.
    for file in (LIB / name).glob("_sysconfigdata_*.py"):
        file.write_text(file.read_text().replace("/usr/share/python-wheels", f"{TOOLS}/share/python-wheels"))


def _git() -> None:
    core = TOOLS / "libexec" / "git-core"
    shutil.copytree("/usr/lib/git-core", core, symlinks=True)
    shutil.copytree("/usr/share/git-core/templates", TOOLS / "share" / "git-core" / "templates")
    for path in core.rglob("*"):
        if path.is_file() and path.read_bytes()[:64].startswith((b"#!/usr/bin/perl", b"#! /usr/bin/perl")):
            path.unlink()
    (core / "git").unlink()
    shutil.copy2("/usr/bin/git", core / "git")
    for path in core.rglob("*"):
        if path.is_symlink() and not path.exists():
            path.unlink()
            path.symlink_to("git" if path.parent == core else "../git")


def _authorities() -> None:
    target = TOOLS / "etc" / "ssl" / "ca-certificates.crt"
    target.parent.mkdir(parents=True)
    shutil.copy2("/etc/ssl/certs/ca-certificates.crt", target)


def bind() -> None:
    """Give every program the loader and the libraries of the tree; fetch libraries until none is missing."""
    loader = _loader()
    done: set[Path] = set()
    while todo := [path for path in _programs_and_libraries() if path not in done]:
        for path in todo:
            done.add(path)
            _bind(path, loader)


def _bind(path: Path, loader: Path) -> None:
    needed = _patchelf("--print-needed", path).split()
    own = [name for name in needed if not name.startswith(_CORE)]
    for name in needed:
        if not (LIB / name).exists() and (found := _found(name)):
            shutil.copy2(found.resolve(), LIB / name)
            (LIB / name).chmod(0o755)
    if path.name.startswith(_CORE):
        return
    program = path.parent != LIB and _says(path, "--print-interpreter")
    if not program and not own:
        return
    before = [part for part in _patchelf("--print-rpath", path).strip().split(":") if part]
    # In this order: a program that does not move in memory, as Python, is broken by the other one.
    if str(LIB) not in before:
        _patchelf("--force-rpath", "--set-rpath", ":".join([*before, str(LIB)]), path)
    if program and _patchelf("--print-interpreter", path).strip() != str(loader):
        _patchelf("--set-interpreter", loader, path)


def _programs_and_libraries() -> Iterator[Path]:
    """Yield what the loader works on, but nothing that a Python of an image will load."""
    for path in sorted(TOOLS.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.is_relative_to(_KERNELS):
            continue
        with path.open("rb") as opened:
            elf = opened.read(4) == b"\x7fELF"
        if elf and path.suffix not in {".a", ".o"} and path.name != "busybox" and _says(path, "--print-needed"):
            yield path


def _loader() -> Path:
    """Return the loader of the tree, brought there from where Python has its own."""
    asked = Path(_patchelf("--print-interpreter", Path("/usr/bin/python3").resolve()).strip())
    target = LIB / asked.name
    if not target.exists():
        shutil.copy2(asked.resolve(), target)
        target.chmod(0o755)
    return target


def _found(name: str) -> Path | None:
    for folder in ("/lib", "/usr/lib", "/lib64"):
        for place in (Path(folder), *sorted(Path(folder).glob("*-linux-gnu"))):
            if (place / name).exists():
                return place / name
    return None


def _says(path: Path, question: str) -> bool:
    return subprocess.run(["patchelf", question, path], capture_output=True).returncode == 0


def _patchelf(*words: str | Path) -> str:
    return subprocess.run(["patchelf", *words], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    {"programs": programs, "bind": bind}[sys.argv[1]]()
