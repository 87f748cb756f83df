"""Where rows live: the `Database` port, its SQLite and PostgreSQL adapters, every table, the migrations."""
