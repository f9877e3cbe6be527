"""What all tests need of the process they run in, and in which order files are handed out."""

import signal

import pytest
from hypothesis import settings

# A shell hands an ignored SIGINT down to what it runs in the background, and Ctrl-C would end no program of a test.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test fails because its machine is loaded.
settings.register_profile("patient", settings(deadline=None))
settings.load_profile("patient")

# Few tests that take long. Begun first, they run beside the many short ones; begun last, they run alone.
_LONG = (
    *("test_installed", "test_spawner", "test_kubespawner"),
    *("test_openapi", "test_kills", "test_awkward_texts", "test_life", "test_endings", "test_disk", "test_two"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {name: place for place, name in enumerate(_LONG)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))
