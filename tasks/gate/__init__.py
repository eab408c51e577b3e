"""The release gate: what must hold before a round is published."""
