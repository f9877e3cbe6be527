"""Start a kernel in a Python of an image, 3.6 or newer. The image's own ipykernel comes first.

Without one the packages beside this file are added behind all others, so that whatever the image has stays what it
is; only if those do not go together they are put in front.
"""

import os
import sys

_NEWEST = (3, 12)  # what is for this version is for all that follow


def packages():
    """Return the folder of packages for this Python."""
    version = min(sys.version_info[:2], _NEWEST)
    return os.path.join(os.path.dirname(os.path.abspath(__file__)), "{}.{}".format(*version))


def application():
    """Return the application of ipykernel. Raises ImportError."""
    before = set(sys.modules)
    places = [list(sys.path), [*sys.path, packages()], [packages(), *sys.path]]
    for number, place in enumerate(places, 1):
        sys.path[:] = place
        try:
            from ipykernel import kernelapp
        except Exception:
            if number == len(places):
                raise
            for name in set(sys.modules) - before:
                del sys.modules[name]
        else:
            return kernelapp
    raise AssertionError


if __name__ == "__main__":
    del sys.path[0]
    sys.argv[0] = "ipykernel_launcher"
    application().launch_new_instance()
