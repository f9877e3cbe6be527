"""Loops of the service: woken by what happens, owned by one task each."""

from kqi_hub.background.loop import Loop

__all__ = ["Loop"]
