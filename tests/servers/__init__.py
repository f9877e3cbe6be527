"""Real servers of the world outside, on loopback, with certificates of a private authority."""
