"""The database: rows, transactions and scopes. SQLite (WAL) embedded."""
