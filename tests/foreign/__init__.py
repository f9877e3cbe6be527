"""Other people's test suites, run against our classes. Nothing of theirs is copied here."""
