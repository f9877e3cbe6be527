"""What was done, by whom, to what: written in the transaction that does it."""
