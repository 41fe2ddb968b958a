"""Postgres: connections, schema, and the one way in which rows are written."""
