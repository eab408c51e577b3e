"""Embed: vectors of documents and queries, a partition at a time."""
