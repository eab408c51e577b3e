"""The review loop: pairs to people and back, their labels as records, and what these do to qrels."""
