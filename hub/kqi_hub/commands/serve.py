"""The api process: `python -m kqi_hub.commands.serve`, started by the supervisor."""

import logging
import sys

from kqi_hub.bootstrap import serve
from kqi_hub.commands.console import plainly, settings_of


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with plainly():
        serve(settings_of())


if __name__ == "__main__":
    main()
