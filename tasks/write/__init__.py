"""Writers: documents and queries that a language model writes; always marked as synthetic."""
