"""A program, not a module of tests: it needs Atheris, which is not among the dependencies."""

collect_ignore = ["by_coverage.py"]
