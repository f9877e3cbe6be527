"""Tenants: who is in which, with which role; what an administrator gives them; how they end."""
