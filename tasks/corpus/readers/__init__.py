"""Readers: one module a file format, each a stream of rows."""
