"""Run by an ordinary user in an empty folder of theirs; says what worked. Argument: the isolation."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from kqi_spawner.local.backend import LocalBackend, LocalSettings
from kqi_spawner.local.isolation import Isolation
from kqi_spawner.names import checked_name
from kqi_spawner.status import Phase, Reason, WorkloadStatus
from kqi_spawner.workload import Access, Mount, Resources, StorePath, Workload


async def run(backend: LocalBackend, name: str, text: str, until: str = "") -> str:
    """Start it and return its output, up to `until` if given."""
    mount = Mount(source=StorePath("data"), target="/kqi/input", access=Access.READ_ONLY)
    await backend.start(
        Workload(
            name=checked_name(name),
            command=("/bin/sh", "-c", text),
            image="",
            workdir="/kqi",
            resources=Resources(cpu_milli=1000, memory_mib=256),
            log=StorePath(f"{name}.log"),
            mounts=(mount,),
        )
    )
    seen = ""
    async for chunk in backend.logs(checked_name(name), follow=True):
        seen += chunk.decode()
        if until and until in seen:
            break
    return seen


async def ended(backend: LocalBackend, name: str) -> WorkloadStatus:
    while True:
        status = (await backend.observe([checked_name(name)]))[checked_name(name)]
        if status.phase in {Phase.EXITED, Phase.LOST}:
            return status
        async for changed in backend.changes():
            if changed == name:
                break


async def main() -> None:
    base = Path.cwd()
    isolation = Isolation(sys.argv[1])
    settings = LocalSettings(
        state=base / "state",
        store=base / "store",
        environments=base / "environments",
        isolation=isolation,
        hidden=(Path("/etc/hostname"),),
    )
    for folder in (settings.store / "data", settings.environments / "default" / "bin"):
        folder.mkdir(parents=True)
    (settings.environments / "default" / "bin" / "python").symlink_to("/usr/bin/python3")
    backend = await LocalBackend.opened(settings)

    await run(backend, "exits", "exit 3")
    assert (await ended(backend, "exits")).exit_code == 3
    say("exit-code")

    text = "unshare --user --map-root-user --mount mount -o remount,bind,rw /kqi/input; touch /kqi/input/x"
    if isolation.private:
        told = await run(backend, "writes", text)
        assert not (settings.store / "data" / "x").exists(), told
    say("read-only")

    if isolation.private:
        told = await run(backend, "looks", "cat /etc/hostname 2>/dev/null; echo nothing")
        assert told == "nothing\n", told
    say("hidden")

    told = await run(backend, "who", "id -u; grep CapEff /proc/self/status")
    assert told.split() == [str(os.getuid()), "CapEff:", "0" * 16], told
    say("no-privilege")

    await run(backend, "waits", "trap 'exit 5' TERM; echo up; while :; do sleep 600 & wait; done", until="up")
    await backend.stop(checked_name("waits"), grace_s=30)
    status = await ended(backend, "waits")
    assert (status.exit_code, status.reason) == (5, Reason.STOPPED), status
    say("stop")

    await run(backend, "vanishes", "trap '' TERM; echo up; while :; do sleep 600; done", until="up")
    os.kill(int((settings.state / "ledger" / "vanishes" / "pid").read_text()), signal.SIGKILL)
    assert (await ended(backend, "vanishes")).phase is Phase.LOST
    say("lost")
    await backend.close()


def say(what: str) -> None:
    sys.stdout.write(what + "\n")
    sys.stdout.flush()


asyncio.run(main())
