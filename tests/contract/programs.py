"""What the workloads of the contract do: as a shell text for real engines, as a coroutine for the one in memory."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from kqi_spawner.memory import Console, Program
from kqi_spawner.workload import Access


@dataclass(frozen=True)
class Act:
    text: str
    program: Program


def exits(code: int) -> Act:
    async def program(console: Console) -> int:
        return code

    return Act(f"exit {code}", program)


def dies(number: int) -> Act:
    async def program(console: Console) -> int:
        return 128 + number

    return Act(f"kill -s {number} $$", program)


async def _speak(console: Console) -> int:
    console.write(b"first\nsecond\n")
    return 0


async def _linger(console: Console) -> int:
    console.write(b"up\n")
    await console.terminated.wait()
    return 143


async def _ignore(console: Console) -> int:
    console.write(b"up\n")
    await asyncio.Event().wait()
    return 0


async def _say_goodbye(console: Console) -> int:
    console.write(b"up\n")
    await console.terminated.wait()
    console.write(b"saved\n")
    return 5


async def _tell_environment(console: Console) -> int:
    given = console.workload.environment
    console.write("".join(f"{name}={given[name]}\n" for name in ("PLAIN", "ODD.NAME")).encode())
    console.write(f"SECRET={console.workload.secrets['SECRET'].reveal()}\n".encode())
    return 0


async def _take(console: Console) -> int:
    if console.workload.resources.memory_mib < _GREED_MIB:
        return 137
    console.write(b"had it\n")
    return 0


def _copy(store: Path) -> Program:
    """What sees the store by the mounts of its workload alone."""

    async def program(console: Console) -> int:
        mounts = {mount.target: mount for mount in console.workload.mounts}
        given, taken = mounts["/kqi/input"], mounts["/kqi/output"]
        console.write((store / str(given.source) / "word").read_bytes())
        console.write(b"kept out\n" if given.access is Access.READ_ONLY else b"let in\n")
        (store / str(taken.source) / "out").write_bytes(b"result\n")
        return 0

    return program


async def _count_cards(console: Console) -> int:
    console.write(f"{len(console.workload.resources.gpus)}\n".encode())
    return 0


_GREED_MIB = 300
SPEAK = Act("echo first; echo second >&2", _speak)
LINGER = Act("echo up; exec sleep 600", _linger)
IGNORE = Act("trap '' TERM; echo up; while :; do sleep 600; done", _ignore)
SAY_GOODBYE = Act("trap 'echo saved; exit 5' TERM; echo up; while :; do sleep 600 & wait $!; done", _say_goodbye)
# A shell may drop a name that is no identifier, so look at what it was given.
TELL_ENVIRONMENT = Act(
    "tr '\\0' '\\n' </proc/$$/environ | grep -e '^PLAIN=' -e '^ODD.NAME=' | sort -r; env | grep '^SECRET='",
    _tell_environment,
)

TAKE = Act(f"dd if=/dev/zero of=/dev/null bs={_GREED_MIB}M count=1 2>/dev/null && echo had it", _take)
COPY = (
    "cat $KQI_ROOT/input/word; { echo x >$KQI_ROOT/input/more; } 2>/dev/null && echo let in || echo kept out; "
    "echo result >$KQI_ROOT/output/out"
)
# What shows cards to a program: an engine that gives numbers says so, one with a device plugin leaves it to that.
COUNT_CARDS = Act(
    "cards=${CUDA_VISIBLE_DEVICES-$NVIDIA_VISIBLE_DEVICES}; echo $cards | tr , '\\n' | grep -c . || true",
    _count_cards,
)

EXITS = {code: exits(code) for code in (0, 1, 3, 127, 137, 138, 143, 255)}
DEATHS = {number: dies(number) for number in (9, 15)}


def table(store: Path) -> dict[str, Program]:
    acts = [SPEAK, LINGER, IGNORE, SAY_GOODBYE, TELL_ENVIRONMENT, TAKE, COUNT_CARDS, *EXITS.values(), *DEATHS.values()]
    return {**{act.text: act.program for act in acts}, COPY: _copy(store)}
