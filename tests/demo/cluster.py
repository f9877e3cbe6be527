"""`make demo-cluster`: the same day on a Kubernetes of its own. `ONCE=1` ends it with everything stopped."""

import os
import signal
import sys
import time

from images.make import Plan, archives, build
from images.rootfs import CannotBuild, cache
from tests.cluster.harness.build import CannotBuild as CannotBuildCluster
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.control_plane import NotReady
from tests.cluster.installed import IMAGES, Installed
from tests.demo.day import USER, Day, live
from tests.platform import PASSWORD


def main() -> None:
    plan = Plan(names=IMAGES)
    _say("Building the images …")
    for built in build(plan):
        _say(f"   {built.reference}  {built.size / 1e6:.0f} MB")
    files = archives([plan.reference(name) for name in IMAGES], cache() / "archives")
    _say("Starting a Kubernetes with two nodes of four made-up cards each …")
    with Cluster(nodes=2) as cluster:
        _say(f"   export KUBECONFIG={cluster.kubeconfig}\nInstalling the platform by helm …")
        with Installed(cluster=cluster, images=files, tag=plan.tag) as platform:
            began = time.monotonic()
            pictures = live(Day(platform, platform.folder / "home", "--gpu", "1"), platform.published)
            _say(f"\nDone in {time.monotonic() - began:.0f} s. Pictures: {pictures}")
            _say(f"Look around: {platform.url}   user {USER}, password {PASSWORD!r}")
            if os.environ.get("ONCE") != "1":
                _say(f"export KUBECONFIG={cluster.kubeconfig}\nCtrl-C ends it.")
                signal.pause()


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
    except (CannotBuild, CannotBuildCluster, NotReady) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        _say("")
