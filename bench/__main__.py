"""`make bench`: run all benchmarks, print their ratios, keep their records."""

import sys

from bench import cluster, datasets, service, sign_in

ALL = {"datasets": datasets.run, "service": service.run, "cluster": cluster.run, "sign_in": sign_in.run}


def main(names: list[str]) -> None:
    for name in names or list(ALL):
        for record in ALL[name]():
            print(record.keep(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
