"""What a workload's container runs: the parent of the person's command, as on every engine. Pure."""

import shlex

from kqi_spawner.errors import CannotStart
from kqi_spawner.shell import INSIDE, assign, export, exportable, function, link_lines, words
from kqi_spawner.workload import Access, Secret, Workload

LOG = "/kqi/.log"
SECRETS_FILE = "environment"
_SECRETS = f"/kqi/.secrets/{SECRETS_FILE}"
# Where the tools of images that lack them are: last, so that the image's own win.
_TOOLS = "/kqi/tools/bin"


def script(workload: Workload, *, shared: bool = False) -> str:
    """Return the text of `sh -c`. All output goes to the log file of the store, from the first byte.

    `shared`: it runs as somebody whose files the platform's account sees to by the group that both are in.
    """
    # A shell drops names that it could not set itself.
    odd = {name: value for name, value in workload.environment.items() if not exportable(name) and name != "PATH"}
    env = ["env", "--", *(f"{name}={value}" for name, value in sorted(odd.items()))] if odd else []
    lines = [
        f'echo "The output is in the log file of the store: {workload.log.text}"',
        f"exec >>{LOG} 2>&1 </dev/null 8>/dev/null",
        f'export PATH="${{PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}}:{_TOOLS}"',
        f". {_SECRETS}" if workload.secrets else ":",
        assign("_kqi_own_processes", "yes"),
        assign("_kqi_umask", "002" if shared else "022"),
        assign("_kqi_shared", _results(workload) if shared else ""),
        assign("_kqi_workdir", workload.workdir),
        *(assign(f"_kqi_{name}", "") for name in ("data_kib", "layer", "own")),
        function("_kqi_links", link_lines((link.target, link.to) for link in workload.links)),
        words(["set", "--", *env, *workload.command]),
        INSIDE.read_text(encoding="utf-8"),
    ]
    return "\n".join(lines)


def _results(workload: Workload) -> str:
    """Return the folders below /kqi that it writes to, for one line of a shell."""
    written = (mount.target for mount in workload.mounts if mount.access is Access.READ_WRITE)
    return " ".join(sorted(target for target in written if target.startswith("/kqi/") and " " not in target))


def secrets_text(workload: Workload) -> str:
    """Return the lines that export the secrets. Raises `CannotStart` for a name that a shell does not take."""
    for name in workload.secrets:
        if not exportable(name):
            raise CannotStart(f"a secret cannot be called {name!r}")
    return "".join(f"{export(name, secret.reveal())}\n" for name, secret in workload.secrets.items())


def secrets_of(text: str) -> dict[str, Secret]:
    """Return the secrets that `secrets_text` wrote."""
    pairs = (word.partition("=") for word in shlex.split(text) if "=" in word)
    return {name: Secret(value) for name, _, value in pairs}
