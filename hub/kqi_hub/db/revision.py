"""The newest revision of the schema, for who asks without the libraries that bring it about."""

HEAD = "0010"
