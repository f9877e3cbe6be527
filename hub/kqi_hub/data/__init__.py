"""Data: files in folders with tags and a memo, and the ways their bytes come in."""
