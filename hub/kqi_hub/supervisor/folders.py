"""The folders of state and store: made where they can be written, or not at all."""

import os
import tempfile

from kqi_hub.errors import ConfigError
from kqi_hub.settings import Settings


def prepare_folders(settings: Settings) -> None:
    """Make the folders. As root, workloads of another account must be able to pass; secrets they cannot enter."""
    if settings.state not in settings.store.parents:
        _prepare_store(settings)  # first: a start that comes to nothing leaves nothing
    try:
        settings.state.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            settings.state.chmod(0o755)
        for folder in (settings.secrets, settings.hub_state):
            folder.mkdir(mode=0o700, exist_ok=True)
        run = settings.state / "run"
        run.mkdir(exist_ok=True)
        # Entered, not listed, by the workloads' account: the engine keeps a folder for each workload in it.
        run.chmod(0o711)
        for folder in (settings.environments, settings.store):
            folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        probe = settings.state / "run" / ".write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ConfigError("state_not_writable", path=settings.state, message=error.strerror or str(error)) from error


def _prepare_store(settings: Settings) -> None:
    try:
        settings.store.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.store):
            pass
    except OSError as error:
        raise ConfigError("store_not_writable", path=settings.store, message=error.strerror or str(error)) from error
