"""Judges: language models that say whether a mined negative is relevant after all (RLHN)."""
