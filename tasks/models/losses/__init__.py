"""Losses and training modes of the retriever: functions on score tensors, and modules for sentence-transformers' trainer."""
