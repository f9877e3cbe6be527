"""The spawner runs: a `Workload` becomes a pod or a process."""
