"""git, as a subprocess that can ask nobody anything, follow no strange protocol and read nobody's configuration."""

import asyncio
import contextlib
import math
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from kqi_hub.accounts.credentials import GitAccess
from kqi_hub.errors import Invalid, Unavailable
from kqi_hub.outbound import trust
from kqi_hub.outbound.tunnel import Tunnel, Way
from kqi_hub.sources.local import LocalFolders

_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SHORT = re.compile(r"[0-9a-fA-F]{4,64}")
_REMOTE = re.compile(r"(?:https?|git|ssh)://[^\s]+")
_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s]+")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")
_MAX_OUTPUT = 20_000
_SSH = "ssh -oBatchMode=yes"
_ASKED_S = 60.0  # for an answer that somebody waits for
# A server may compute for long and keep the line open with a byte or two; one that sends less than this is gone.
_STALLED = ("-c", "http.lowSpeedLimit=100", "-c", "http.lowSpeedTime=120")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    commit: str
    branch: str
    rule: str  # `commit`, `branch` or `default_branch`


@dataclass(slots=True, kw_only=True)
class Git:
    """`owner` is the account that git runs as, where the platform runs as root; `home` is an empty folder of ours.

    `way` is how far it may go, by whatever proxy; None: anywhere, by `proxies`.
    """

    home: Path
    timeout_s: float  # of one fetch, which ends earlier where nothing comes
    local: LocalFolders
    owner: tuple[int, int] | None = None
    proxies: Mapping[str, str] = field(default_factory=dict)  # variables by which this site reaches others
    ca_file: Path | None = None  # authorities to believe beside those of the system
    way: Way | None = None

    def prepare(self) -> None:
        """Write the one configuration that git reads: repositories of other accounts may be cloned."""
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "gitconfig").write_text("[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n", "utf-8")
        # git's own protocol wants one program, without arguments.
        self._through.write_text(f'#!/bin/sh\nexec {sys.executable} -m kqi_hub.outbound.through "$KQI_TUNNEL" "$@"\n')
        self._through.chmod(0o755)
        if self.ca_file is not None:
            trust.write_bundle(self.ca_file, self._authorities)
        if shutil.which("git") is None:
            raise Unavailable("git_missing")

    async def resolve(
        self, url: str, branch: str | None, commit: str | None, access: GitAccess | None = None
    ) -> Resolved:
        """Return the full commit. A commit wins over a branch; neither means the repository's default branch."""
        at = await self._at(url, access)
        if commit:
            return Resolved(commit=await self._commit(at, commit.strip()), branch=branch or "", rule="commit")
        if branch:
            _check_ref(branch)
            found = await self._remote(at, f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}")
            for ref in (f"refs/heads/{branch}", f"refs/tags/{branch}^{{}}", f"refs/tags/{branch}"):
                if ref in found:
                    return Resolved(commit=found[ref], branch=branch, rule="branch")
            raise Invalid("git_branch_unknown", branch=branch, url=shown(url))
        found = await self._remote(at, "HEAD")
        if "HEAD" not in found:
            raise Invalid("git_empty", url=shown(url))
        return Resolved(commit=found["HEAD"], branch="", rule="default_branch")

    async def clone(self, url: str, commit: str, target: Path, access: GitAccess | None = None) -> None:
        """Bring `commit` with its submodules to `target`, which must not exist. Whole or not at all."""
        at = await self._at(url, access)
        building = target.with_name(f".{target.name}.building")
        await asyncio.to_thread(shutil.rmtree, building, ignore_errors=True)
        building.mkdir(mode=0o755)
        if self.owner:
            os.chown(building, *self.owner)
        place = ["-C", str(building)]
        await self._run(at, [*place, "init", "--quiet"])
        await self._run(at, [*place, "remote", "add", "origin", "--", at.url])
        try:
            await self._run(at, [*place, "fetch", "--quiet", "--depth=1", "origin", commit])
        except Invalid:
            # Some servers give out no single commits: take everything.
            await self._run(at, [*place, "fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])
        await self._run(at, [*place, "checkout", "--quiet", "--detach", commit])
        await self._submodules(at, building)
        os.replace(building, target)

    async def _at(self, url: str, access: GitAccess | None) -> "_Remote":
        """Return what git is given for an address. Raises Invalid for one that it must not be given."""
        if _is_remote(url):
            return _Remote(url, access)
        path = url.removeprefix("file://")
        if not path.startswith("/") or "\0" in path:
            raise Invalid("git_url_not_valid", url=shown(url))
        # Never as an address: git would decode it once more.
        return _Remote(await asyncio.to_thread(self.local.place, path), access, files=True)

    async def _submodules(self, at: "_Remote", place: Path) -> None:
        """Bring the submodules of a checkout, and theirs: of a folder of this machine only to who is in one, too."""
        if not (place / ".gitmodules").exists():
            return
        here = ["-C", str(place)]
        at = replace(at, files=not _is_remote((await self._configured(at, place))["remote.origin.url"]))
        await self._run(at, [*here, "submodule", "--quiet", "init"])
        for key, url in (await self._configured(at, place)).items():
            if at.files and key.startswith("submodule.") and key.endswith(".url") and not _is_remote(url):
                await self._run(at, [*here, "config", key, (await self._at(url, None)).url])
        await self._run(at, [*here, "submodule", "--quiet", "update", "--depth=1"])
        inner = await self._run(at, [*here, "submodule", "--quiet", "foreach", "--quiet", 'printf "%s\\0" "$sm_path"'])
        for name in inner.split("\0")[:-1]:
            await self._submodules(at, place / name)

    async def _configured(self, at: "_Remote", place: Path) -> dict[str, str]:
        """Return what the repository at `place` has in its own configuration."""
        listed = await self._run(at, ["-C", str(place), "config", "--local", "--null", "--list"])
        pairs = (entry.partition("\n") for entry in listed.split("\0"))
        return {key: value for key, _, value in pairs}

    async def _commit(self, at: "_Remote", commit: str) -> str:
        if _SHA.fullmatch(commit.lower()):
            return commit.lower()
        if not _SHORT.fullmatch(commit):
            raise Invalid("git_commit_not_valid", commit=commit[:100])
        heads = await self._remote(at)
        matching = {sha for sha in heads.values() if sha.startswith(commit.lower())}
        if len(matching) == 1:
            return matching.pop()
        raise Invalid("git_commit_short", commit=commit)

    async def _remote(self, at: "_Remote", *refs: str) -> dict[str, str]:
        output = await self._run(at, ["ls-remote", "--quiet", "--", at.url, *refs], within_s=_ASKED_S)
        pairs = (line.split("\t", 1) for line in output.splitlines() if "\t" in line)
        return {ref: sha for sha, ref in pairs}

    async def _run(self, at: "_Remote", arguments: Sequence[str], *, within_s: float = math.inf) -> str:
        async with self._tunnel(at) as tunnel:
            with _offered(at.access) as offer:
                process = await asyncio.create_subprocess_exec(
                    *("git", "-c", "protocol.ext.allow=never"),
                    *("-c", f"protocol.file.allow={'always' if at.files else 'never'}"),
                    *("-c", "credential.helper=", "-c", "core.hooksPath=/dev/null", *_STALLED, *offer.words),
                    *arguments,
                    env=self._environment(tunnel),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,
                    pass_fds=offer.descriptors,
                    user=self.owner[0] if self.owner else None,
                    group=self.owner[1] if self.owner else None,
                    extra_groups=[] if self.owner else None,
                )
                text = await self._ended(at, process, min(within_s, self.timeout_s))
        if process.returncode != 0:
            if tunnel is not None and tunnel.refused:
                raise Invalid("git_address_closed", host=tunnel.refused[0])
            said = _CREDENTIALS.sub("", text[-_MAX_OUTPUT:].strip().replace("\n", " "))
            if at.access is not None:
                said = said.replace(at.access.secret.reveal(), "…")  # a server may say what it was told
            raise Invalid("git_failed", url=shown(at.url), message=said[-500:])
        return text

    @contextlib.asynccontextmanager
    async def _tunnel(self, at: "_Remote") -> AsyncIterator[Tunnel | None]:
        if self.way is None or at.files:
            yield None
            return
        async with self.way.opened() as tunnel:
            yield tunnel

    async def _ended(self, at: "_Remote", process: asyncio.subprocess.Process, seconds: float) -> str:
        """Return all that it said; it is killed when it takes too long."""
        try:
            output, _ = await asyncio.wait_for(process.communicate(), seconds)
        except (TimeoutError, asyncio.CancelledError) as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            if isinstance(error, asyncio.CancelledError):
                raise
            raise Invalid("git_timeout", url=shown(at.url), seconds=round(seconds)) from error
        return output.decode("utf-8", "replace")

    @property
    def _authorities(self) -> Path:
        return self.home / "authorities.pem"

    @property
    def _through(self) -> Path:
        return self.home / "through"

    def _environment(self, tunnel: Tunnel | None) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "GIT_CONFIG_GLOBAL": str(self.home / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "/bin/true",
            "LC_ALL": "C.UTF-8",
            **({"GIT_SSL_CAINFO": str(self._authorities)} if self.ca_file is not None else {}),
            **({**self.proxies, "GIT_SSH_COMMAND": _SSH} if tunnel is None else self._by(tunnel)),
        }

    def _by(self, tunnel: Tunnel) -> dict[str, str]:
        """Return the variables by which git, and ssh for it, connect by the tunnel alone."""
        words = {"http.proxy": f"socks5h://127.0.0.1:{tunnel.port}", "core.gitProxy": str(self._through)}
        return {
            "KQI_TUNNEL": str(tunnel.port),
            "GIT_SSH_COMMAND": f"{_SSH} {shlex.quote(f'-oProxyCommand={shlex.quote(str(self._through))} %h %p')}",
            "GIT_CONFIG_COUNT": str(len(words)),
            **{f"GIT_CONFIG_KEY_{number}": key for number, key in enumerate(words)},
            **{f"GIT_CONFIG_VALUE_{number}": value for number, value in enumerate(words.values())},
        }


@dataclass(frozen=True, slots=True)
class _Remote:
    url: str
    access: GitAccess | None
    files: bool = False  # whether it is a folder of this machine, which git otherwise reads none of


@dataclass(frozen=True, slots=True)
class _Offer:
    """What git is started with so that it finds a credential, and for no other host than that one."""

    words: tuple[str, ...] = ()
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def _offered(access: GitAccess | None) -> Iterator[_Offer]:
    """Yield how git gets at the credential: a file of memory alone, which its helper reads by an inherited descriptor.

    So it is in no argument, variable or file of a disk, also after a crash.
    """
    if access is None:
        yield _Offer()
        return
    descriptor = os.memfd_create("credential")
    try:
        os.write(descriptor, f"username={access.username}\npassword={access.secret.reveal()}\n".encode())
        # Git may run as another account, which opens it anew.
        os.fchmod(descriptor, 0o444)
        helper = f'!f() {{ test "$1" = get && cat /proc/self/fd/{descriptor}; }}; f'
        yield _Offer(("-c", f"credential.https://{access.host}.helper={helper}"), (descriptor,))
    finally:
        os.close(descriptor)


def _is_remote(url: str) -> bool:
    return bool(_REMOTE.fullmatch(url) or _SCP.fullmatch(url))


def shown(url: str) -> str:
    """Return the address without credentials, short enough for a message."""
    return _CREDENTIALS.sub("", url)[:200]


def _check_ref(name: str) -> None:
    bad = name.startswith(("-", "/", ".")) or name.endswith(("/", ".", ".lock")) or ".." in name or "@{" in name
    if bad or any(char in " ~^:?*[\\\x7f" or char < " " for char in name):
        raise Invalid("git_branch_not_valid", branch=name[:100])
