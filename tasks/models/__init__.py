"""Models: settings, identity, and the only modules that import torch, transformers and sentence-transformers."""
