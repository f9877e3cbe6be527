"""The store: one POSIX directory that holds blobs, dataset trees, run folders and homes."""
