"""`make drills`: 200 submits through kills, then what `make test` samples in its full size."""

import os
import subprocess
import sys
import time

from tests.drills.kills import Drill
from tests.platform import Platform

_SUBMITS = 200
_FULL = [f"tests/integration/api/test_{name}.py" for name in ("awkward_texts", "openapi", "disk")]


def main() -> None:
    kills()
    words = [sys.executable, "-m", "pytest", "-n", "auto", "--maxprocesses", "4", "--dist", "loadfile", *_FULL]
    sys.exit(subprocess.run(words, env={**os.environ, "KQI_DRILLS": "full"}).returncode)


def kills() -> None:
    began = time.monotonic()
    with Platform(environment=False) as platform:
        platform.command("image", "add", "default", "--python", "/usr/bin/python3")
        platform.add_user("alice")
        drill = Drill(platform, "alice", seed=int(os.environ.get("SEED", "1")))
        drill.run(_SUBMITS)
        drill.verify()
    print(
        f"{len(drill.submitted)} submits, {len(drill.killed)} kills, each run ended exactly once, "
        f"nothing left behind, the next start works ({time.monotonic() - began:.0f} s)",
        flush=True,
    )


if __name__ == "__main__":
    main()
