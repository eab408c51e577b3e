"""One module a published method (or a family of one rule)."""
