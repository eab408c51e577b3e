"""Training files of several datasets as one set: batches of one source each, datasets by weight and temperature."""
