"""The api process: `python -m kqi_hub.commands.serve` as the supervisor starts it, `kqi-hub serve` elsewhere."""

import logging

from kqi_hub.bootstrap import serve
from kqi_hub.commands.console import plainly, settings_of
from kqi_hub.commands.lines import log_to_stderr
from kqi_hub.settings import Settings
from kqi_hub.supervisor.gate import wait_at_gate


def main(settings: Settings | None = None) -> None:
    log_to_stderr()
    for noisy in ("httpx", "uvicorn.error"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with plainly():
        serve(settings or settings_of())


if __name__ == "__main__":
    wait_at_gate()
    main()
