"""The corpus stages: sources of many formats into partitioned documents, queries and qrels."""
