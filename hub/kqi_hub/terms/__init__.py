"""The terms of service: what everybody must have accepted before they go on."""
