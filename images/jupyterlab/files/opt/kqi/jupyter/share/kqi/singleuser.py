"""Start the server; where a person's own settings keep it from starting, once more without them.

Whoever writes a wrong line into ~/.jupyter could mend it only in the server that does not start any more.
"""

import os
import sys

from jupyter_server.serverapp import ServerApp
from jupyterhub.singleuser import main

_WITHOUT = "JUPYTERHUB_DISABLE_USER_CONFIG"


def start() -> None:
    try:
        main()
    except (SystemExit, Exception) as problem:
        wanted = isinstance(problem, SystemExit) and not problem.code
        # It is made last: after it nothing of what people set is read.
        began = ServerApp.initialized() and hasattr(ServerApp.instance(), "http_server")
        if wanted or began or os.environ.get(_WITHOUT):
            raise
        print(f"The server did not start ({problem}): once more, without the settings in ~/.jupyter", file=sys.stderr)
        sys.stderr.flush()
        os.environ[_WITHOUT] = "1"
        os.execv(sys.executable, [sys.executable, "-I", *sys.argv])


start()
