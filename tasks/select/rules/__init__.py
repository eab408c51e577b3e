"""Rules: row-wise reasons to reject a candidate, by what they compare."""
