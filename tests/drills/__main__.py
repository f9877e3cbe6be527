"""`make drills`: what `make test` and `make test-cluster` sample, in its full size. ARGS="outages starts" chooses."""

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.cluster.harness.cluster import Cluster
from tests.drills import outages, starts
from tests.drills.kills import Drill
from tests.platform import Platform

_SUBMITS = 200
_PEOPLE = 50
_FULL = [f"tests/integration/api/test_{name}.py" for name in ("awkward_texts", "openapi", "disk")]
_FULL.append("tests/images/test_vscode.py")


def kills() -> str:
    with Platform(environment=False) as platform:
        platform.command("image", "add", "default", "--python", "/usr/bin/python3")
        platform.add_user("alice")
        drill = Drill(platform, "alice", seed=int(os.environ.get("SEED", "1")))
        drill.run(_SUBMITS)
        drill.verify()
    return (
        f"{len(drill.submitted)} submits, {len(drill.killed)} kills, each run ended exactly once, "
        "nothing left behind, the next start works"
    )


def away() -> str:
    with Cluster(nodes=2) as cluster:
        late = {seconds: asyncio.run(outages.away(cluster, seconds)) for seconds in outages.AWAY_S}
        asyncio.run(outages.etcd_anew(cluster))
        asyncio.run(outages.compacted(cluster))
    said = ", ".join(f"{seconds} s: {after:.2f} s" for seconds, after in late.items())
    return (
        f"apiserver away, and what ended meanwhile known so long after the cluster knew: {said}; etcd anew; compacted"
    )


def started() -> str:
    seed = int(os.environ.get("SEED", "1"))
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp") as state,
        Cluster(nodes=2) as cluster,
        starts.platform(cluster, Path(state), _PEOPLE, seed) as drill,
    ):
        drill.run()
        drill.verify()
        count, killed = len(drill.jobs) + len(drill.notebooks), ", ".join(drill.killed)
    return f"{count} starts on a cluster, each once, each ended once, nothing left; killed: {killed}"


def full() -> str:
    words = [sys.executable, "-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", *_FULL]
    done = subprocess.run(words, env={**os.environ, "KQI_DRILLS": "full"})
    if done.returncode:
        sys.exit(done.returncode)
    return "texts, API and disk in full size, and the image with VS Code"


ALL: Mapping[str, Callable[[], str]] = {"kills": kills, "outages": away, "starts": started, "full": full}


def main(names: list[str]) -> None:
    for name in names or list(ALL):
        began = time.monotonic()
        print(f"{ALL[name]()} ({time.monotonic() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
