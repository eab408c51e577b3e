"""False negatives measured, not assumed: estimators of the leak of a recipe's negatives, with intervals."""
