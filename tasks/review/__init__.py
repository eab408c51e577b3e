"""The review loop: pairs to people and back, their labels as records, and when pseudo-positives become labels."""
