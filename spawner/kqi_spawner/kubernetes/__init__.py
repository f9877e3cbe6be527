"""The Kubernetes engine: workloads are Jobs and pods. The only place that speaks of either."""
