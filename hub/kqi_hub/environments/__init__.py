"""Named Python environments: what an image is on the local engine."""
