"""How this machine reaches its package registries, as files that a build sees and no image keeps."""

import os
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PASSED_ON = re.compile(
    r"(https?|no|ftp|all)_proxy|(UV|PIP)_(DEFAULT_INDEX|INDEX_URL|EXTRA_INDEX_URL|INDEX|DEFAULT_TIMEOUT|HTTP_TIMEOUT)"
    r"|npm_config_(registry|noproxy|https?_proxy)",
    re.IGNORECASE,
)
_AUTHORITIES = "/run/secrets/ca.pem"
_TRUSTING = (
    *("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "NODE_EXTRA_CA_CERTS", "GIT_SSL_CAINFO"),
    "npm_config_cafile",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Where this machine gets Debian's packages from."""

    packages: str

    def sources(self, suite: str) -> str:
        """Return the lines of a sources.list."""
        lines = [f"deb {self.packages} {suite} main"]
        if suite not in {"sid", "unstable"}:
            lines += [
                f"deb {self.packages} {suite}-updates main",
                f"deb {self.packages}-security {suite}-security main",
            ]
        return "\n".join(lines) + "\n"


def mirror() -> Mirror | None:
    """Return what apt of this machine uses; None where it uses nothing of Debian."""
    ways = {"*.sources": r"^URIs:\s*(\S+/debian)/?\s*$", "*.list": r"^deb\s+(?:\[[^]]*\]\s+)?(\S+/debian)/?\s"}
    for pattern, address in ways.items():
        for path in sorted(Path("/etc/apt").rglob(pattern)):
            if found := re.search(address, path.read_text("utf-8", "replace"), re.MULTILINE):
                return Mirror(packages=found[1])
    return None


def secrets(folder: Path, environment: Mapping[str, str]) -> dict[str, Path]:
    """Write what a build step reads before it fetches anything; return the files by the names of the secrets."""
    script = folder / "machine.sh"
    script.write_text(_script(environment), "utf-8")
    script.chmod(0o600)
    authorities = folder / "ca.pem"
    found = _bundle(environment)
    shutil.copyfile(found, authorities) if found else authorities.write_bytes(b"")
    return {"machine.sh": script, "ca.pem": authorities}


def _script(environment: Mapping[str, str]) -> str:
    values = {**_configured(), **{name: value for name, value in environment.items() if _PASSED_ON.fullmatch(name)}}
    if "UV_DEFAULT_INDEX" not in values and "PIP_INDEX_URL" in values:
        values["UV_DEFAULT_INDEX"] = values["PIP_INDEX_URL"]
    lines = [f"export {name}={shlex.quote(value)}" for name, value in sorted(values.items())]
    trusting = " ".join(f"{name}={_AUTHORITIES}" for name in _TRUSTING)
    lines += [f"if [ -s {_AUTHORITIES} ]; then export {trusting}; fi", "export DEBIAN_FRONTEND=noninteractive"]
    used = mirror()
    if used is not None:
        lines.append(_APT.format(sources=used.sources("$suite")))
    return "\n".join(lines) + "\n"


# An image of Debian asks the mirror of this machine for one step, and has sources of its own again afterwards, or none.
_APT = """
if grep -qx ID=debian /etc/os-release; then
  suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mkdir -p /tmp/.apt
  trap 'rm -rf /tmp/.apt' EXIT
  cat >/tmp/.apt/sources.list <<END
{sources}END
  printf 'Dir::Etc::sourcelist "/tmp/.apt/sources.list"; Dir::Etc::sourceparts "-";\\n' >/tmp/.apt/apt.conf
  export APT_CONFIG=/tmp/.apt/apt.conf
fi"""


def _configured() -> dict[str, str]:
    """Return what the files of pip and npm say about their registries."""
    found = {}
    asked = {
        "PIP_INDEX_URL": ["pip3", "config", "get", "global.index-url"],
        "npm_config_registry": ["npm", "config", "get", "registry"],
    }
    for name, words in asked.items():
        if shutil.which(words[0]):
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode == 0 and done.stdout.strip().startswith("http"):
                found[name] = done.stdout.strip()
    return found


def _bundle(environment: Mapping[str, str]) -> Path | None:
    """Return the authorities that programs of this machine trust."""
    asked = environment.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    usual = "/etc/ssl/certs/ca-certificates.crt"
    return next((Path(path) for path in (asked, usual) if path and os.path.isfile(path)), None)
