"""What a run will take, before it runs: closed formulas over counts and measured speeds. Nothing here reads or runs anything."""
