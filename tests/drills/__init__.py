"""Long fault drills: `make drills` runs them whole, `make test` a short form of each."""
