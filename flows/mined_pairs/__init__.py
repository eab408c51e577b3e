"""Mining from a script: pairs and models in memory go in, a dataset comes out, and a round is kept."""
