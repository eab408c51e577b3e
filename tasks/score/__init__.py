"""Score: the teacher's logit for each candidate pair, kept in the pair store."""
