"""Hardmine's stages: one folder each, in the order in which data flows through them."""
