"""Requests that the platform sends to addresses which people chose: never to where those people could not go."""
