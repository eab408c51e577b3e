"""The flows that a Prefect server runs: each a form in its UI."""
