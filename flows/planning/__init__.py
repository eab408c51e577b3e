"""``hardmine plan``: what a round will take, found out without running it, and planned against actual after it."""
