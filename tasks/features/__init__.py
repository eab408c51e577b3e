"""Features: cheap columns that rules need, joined with the candidates and the teacher's scores."""
