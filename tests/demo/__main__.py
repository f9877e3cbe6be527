"""`make demo`: the whole day on a platform of its own. `ONCE=1` ends it with everything stopped."""

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.demo.day import USER, Day, live
from tests.platform import PASSWORD, Platform


def main() -> None:
    once = os.environ.get("ONCE") == "1"
    sys.stdout.write("Starting a platform of its own for this demo …\n")
    with (
        tempfile.TemporaryDirectory(dir="/var/tmp", prefix="kqi-demo-") as folder,
        Platform(KQI_HUB__SOURCES__LOCAL_FOLDERS=json.dumps([folder])) as platform,
    ):
        Path(folder).chmod(0o755)
        began = time.monotonic()
        pictures = live(Day(platform, Path(folder) / "hanako"))
        sys.stdout.write(
            f"\nDone in {time.monotonic() - began:.0f} s. Pictures: {pictures}\n"
            f"Look around: {platform.url}   user {USER}, password {PASSWORD!r}\n"
        )
        sys.stdout.flush()
        if not once and platform.process is not None:
            sys.stdout.write("Ctrl-C ends it.\n")
            try:
                platform.process.wait()
            except KeyboardInterrupt:
                sys.stdout.write("\n")


if __name__ == "__main__":
    main()
