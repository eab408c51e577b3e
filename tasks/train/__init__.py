"""Train: a teacher from labelled pairs and retrieved candidates."""
