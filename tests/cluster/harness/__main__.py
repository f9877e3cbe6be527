"""`make cluster`: a Kubernetes to play with, until Ctrl-C."""

import signal
import sys
import time

from tests.cluster.harness.build import CannotBuild
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.control_plane import NotReady


def main() -> None:
    nodes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    began = time.monotonic()
    try:
        with Cluster(nodes=nodes) as cluster:
            print(f"Ready after {time.monotonic() - began:.1f} s.\nexport KUBECONFIG={cluster.kubeconfig}", flush=True)
            signal.pause()
    except (CannotBuild, NotReady, RuntimeError) as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main()
