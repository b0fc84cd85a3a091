"""Durable storage in one SQLite file, for one process."""
