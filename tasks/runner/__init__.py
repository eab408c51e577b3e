"""The stage runner: the one place that knows how a stage is cached, resumed, spread out and committed."""
