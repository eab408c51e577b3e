"""The record of rounds, its DuckDB snapshot, and one query's story."""
