"""Evaluate: how well a checkpoint ranks on queries that it was not trained on."""
