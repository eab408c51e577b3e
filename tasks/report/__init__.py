"""The report of a round: data in, one self-contained HTML file out."""
