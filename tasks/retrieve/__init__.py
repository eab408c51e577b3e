"""Retrieval: each source searches every document partition, then the partial results become one candidate table."""
