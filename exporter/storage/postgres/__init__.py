"""Durable storage in PostgreSQL, shared by several replicas."""
