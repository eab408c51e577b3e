"""Finetune: the retriever's next checkpoint from a round's training rows."""
