"""Training files as a stream of rows: who reads which, in which order, from where on."""
