"""Checkpoints that an external trainer writes: which are complete, which is next, and who may watch."""
