"""A real Kubernetes for tests, in namespaces of its own: nothing of the machine is touched, and nothing is left."""
