"""One's own account: who one is, tokens for programs, and signing a program in."""
