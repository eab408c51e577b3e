"""Staleness: what an earlier round's negatives still are to a later checkpoint."""
