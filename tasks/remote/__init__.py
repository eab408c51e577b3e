"""Models behind an endpoint: settings, client, kept answers, budget, prompts."""
