"""An encoder's layers in 8-bit products with fixed scales, for a CPU."""
