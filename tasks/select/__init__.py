"""Select: a recipe over the scored table. One SQL query a partition, every candidate with its decision and reasons."""
