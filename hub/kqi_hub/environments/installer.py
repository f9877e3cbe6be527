"""Run a program that installs something: it ends with us, and leaves nobody running when it is given up."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path


async def installed(command: Sequence[str], environment: Mapping[str, str], folder: Path | None = None) -> str | None:
    """Return None when it succeeded, else what it said. What it writes can be read by every account."""
    process = await asyncio.create_subprocess_exec(
        *dying_with_us(command),
        env=dict(environment),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        umask=0o022,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    return None if process.returncode == 0 else output.decode("utf-8", "replace").strip()


def dying_with_us(command: Sequence[str]) -> list[str]:
    """Return the command in a form that the system kills when this process ends, however it ends."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--", *command] if setpriv else list(command)
