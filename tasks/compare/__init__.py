"""Compare: how many false negatives, how hard, for how many queries: recipes side by side over one scored table."""
