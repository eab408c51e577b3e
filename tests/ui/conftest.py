from tests.e2e.conftest import collection, cross_encoder

__all__ = ["collection", "cross_encoder"]
