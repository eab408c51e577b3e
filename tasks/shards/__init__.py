"""Training files in the trainers' own formats, with ids and scores beside them."""
