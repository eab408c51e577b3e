"""The formats, one module a trainer."""
