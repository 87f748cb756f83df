"""The database: the `Database` port, its SQLite and PostgreSQL adapters, all tables and the migrations."""
