"""Keeping a root sound and small: what is damaged, and what nothing needs."""
