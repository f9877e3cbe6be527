"""Builds the images of the platform, with buildah or docker. Needs nothing but Python."""
