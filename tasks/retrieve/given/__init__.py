"""Candidates and vectors that the user brings: other retrievers' runs, score tables, triplets, earlier rounds."""
