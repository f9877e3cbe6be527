"""How far workloads are kept apart, and what of it this machine allows: found out by trying."""

import asyncio
import os
from asyncio.subprocess import DEVNULL, PIPE
from dataclasses import dataclass
from enum import StrEnum
from shutil import which

from kqi_spawner.errors import CannotStart

# The platform's own tools, whatever PATH it was started with. Workloads get it behind the folder of their image.
TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_PATIENCE_S = 10.0
_LINES = {
    "bubblewrap": "Each workload sees only its own files and processes (bubblewrap).",
    "unshare": "Each workload sees only its own files and processes (Linux namespaces by unshare).",
    "links": (
        "Workloads run as one account and can read each other's files and processes; read-only folders are not forced: "
        "for one person, or a team that trusts itself."
    ),
}


class Isolation(StrEnum):
    """What keeps the workloads of two people apart. `key` is the stable key of `sentence` for translation."""

    BUBBLEWRAP = "bubblewrap"
    UNSHARE = "unshare"
    LINKS = "links"

    @property
    def private(self) -> bool:
        """True where no workload sees the files and the processes of another."""
        return self is not Isolation.LINKS

    @property
    def key(self) -> str:
        return f"isolation.{self.value}"

    @property
    def sentence(self) -> str:
        """What it means for privacy between users, in English."""
        return _LINES[self.value]


@dataclass(frozen=True, slots=True)
class Account:
    """Whom workloads run as; `drop` when the platform is root and has to change to it."""

    uid: int
    gid: int
    drop: bool

    @property
    def dropping(self) -> tuple[str, ...]:
        """The words in front of a command that make it run as this account without any privilege."""
        bare = ("setpriv", "--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all")
        if not self.drop:
            return bare[:2]
        identity = (f"--reuid={self.uid}", f"--regid={self.gid}", "--clear-groups", "--bounding-set=-all")
        return (*bare, *identity)


def account(run_as: tuple[int, int] | None) -> Account:
    """Return whom workloads run as. Raises `CannotStart` where that would be root."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid(), drop=False)
    if run_as is None or 0 in run_as:
        raise CannotStart("the platform runs as root and workloads must not: name an unprivileged account (run_as)")
    return Account(*run_as, drop=True)


async def works(isolation: Isolation, who: Account) -> bool:
    """Return whether this machine lets us isolate that way, by doing it once."""
    if isolation is Isolation.LINKS:
        return all(which(tool, path=TOOL_PATH) for tool in ("flock", "setpriv", "setsid", "env"))
    command = _bubblewrap_trial(who) if isolation is Isolation.BUBBLEWRAP else _unshare_trial(who)
    return await _succeeds(command)


async def probed(run_as: tuple[int, int] | None) -> Isolation:
    """Return the strongest isolation that works here. Raises `CannotStart` where none does, or it would be root."""
    who = account(run_as)
    # Root mounts what the account itself could not reach (folders of mode 0700), so unshare comes first there.
    namespaces = (Isolation.BUBBLEWRAP, Isolation.UNSHARE)
    ordered = tuple(reversed(namespaces)) if who.drop else namespaces
    for isolation in (*ordered, Isolation.LINKS):
        if await works(isolation, who):
            return isolation
    raise CannotStart(
        "flock, setpriv, setsid (util-linux) and env (coreutils) are needed: apt-get install util-linux coreutils"
    )


def unshare_words(who: Account) -> tuple[str, ...]:
    """The words that enter new namespaces with the right to mount."""
    identity = () if who.drop else ("--user", "--map-root-user")
    return ("unshare", *identity, "--mount", "--pid", "--ipc", "--fork", "--kill-child", "--propagation", "private")


def becoming_words(who: Account) -> tuple[str, ...]:
    """The words that leave the right to mount behind, inside the namespaces of `unshare_words`."""
    if who.drop:
        return (*who.dropping, "--pdeathsig", "KILL")
    # The mounts belong to the outer user namespace: in an inner one nobody can undo a read-only mount.
    nested = ("unshare", "--user", f"--map-user={who.uid}", f"--map-group={who.gid}")
    return (*nested, *who.dropping, "--pdeathsig", "KILL")


def bubblewrap_words(who: Account) -> tuple[str, ...]:
    """The words before the mounts. Bubblewrap is always started unprivileged: by root it would isolate nothing."""
    kinds = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--as-pid-1", "--die-with-parent")
    return (*who.dropping, "--pdeathsig", "KILL", "bwrap", *kinds)


def _bubblewrap_trial(who: Account) -> list[str]:
    view = ("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp")  # noqa: S108
    return [*bubblewrap_words(who), *view, "/bin/sh", "-c", "test $$ = 1"]


def _unshare_trial(who: Account) -> list[str]:
    script = (
        "set -e; mount -t tmpfs kqi /mnt; mkdir /mnt/usr /mnt/proc /mnt/pts;"
        "mount --rbind -o ro /usr /mnt/usr; mount -t proc proc /mnt/proc;"
        "mount -t devpts -o newinstance,ptmxmode=0666 devpts /mnt/pts;"
        'for name in bin sbin lib lib64; do if [ -L "/$name" ]; then ln -s "usr/$name" "/mnt/$name";'
        ' elif [ -d "/$name" ]; then mkdir "/mnt/$name"; mount --rbind "/$name" "/mnt/$name"; fi; done;'
        'cd /mnt; pivot_root . .; umount -l .; cd /; exec "$@" /bin/sh -c "test \\$\\$ = 1"'
    )
    return [*unshare_words(who), "/bin/sh", "-c", script, "sh", *becoming_words(who)]


async def _succeeds(command: list[str]) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, cwd="/", env={"PATH": TOOL_PATH}
        )
    except OSError:
        return False
    try:
        await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    except TimeoutError:
        process.kill()
        await process.wait()
    return process.returncode == 0
