"""The database: rows, transactions and scopes, on SQLite or PostgreSQL."""
