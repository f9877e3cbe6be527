"""`python3 -m images [NAME…]`: build images, all without names."""

import argparse
import sys
from pathlib import Path

from images.make import Plan, archives, build
from images.recipes import ALL, RECIPES, version
from images.rootfs import CannotBuild


def main() -> None:
    asked = _asked()
    unknown = set(asked.names) - RECIPES.keys()
    if unknown:
        sys.exit(f"no image {', '.join(sorted(unknown))}; there are: {', '.join(ALL)}")
    plan = Plan(
        names=tuple(asked.names) or ALL,
        tag=asked.tag,
        prefix=asked.prefix,
        arguments=dict(one.split("=", 1) for one in asked.build_arg),
        fresh=asked.fresh,
    )
    try:
        for built in build(plan):
            print(f"{built.reference}  {built.size / 1e6:.0f} MB  {built.seconds:.0f} s", flush=True)
        if asked.archive:
            for path in archives([plan.reference(name) for name in plan.names], asked.archive):
                print(path, flush=True)
    except CannotBuild as error:
        sys.exit(str(error))


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="images", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(ALL)}")
    parser.add_argument("--tag", default=version(), help="the version of the platform, unless given")
    parser.add_argument("--prefix", default="localhost/kqi", help="what the names begin with, such as REGISTRY/TEAM")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="such as BASE=…, CUDA=…")
    parser.add_argument("--archive", type=Path, metavar="DIR", help="also write the images as archives")
    parser.add_argument("--fresh", action="store_true", help="fetch the newest packages, use nothing that was kept")
    return parser.parse_args()


if __name__ == "__main__":
    main()
