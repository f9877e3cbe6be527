"""What runs inside the hub: its configuration, the authenticator, our sign-in pages and REST routes."""
