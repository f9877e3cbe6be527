"""The local engine: workloads are processes of this machine."""
