"""A tiny encoder in sentence-transformers' terms, a batch for it, and rows; formulas in plain numpy."""

import numpy as np
import torch
from torch import nn

from tasks.models.losses.tables import Rows


class Tiny(nn.Module):
    """Mean of token embeddings, then a linear map; with dropout if asked."""

    def __init__(self, dimension=5, dropout=0.0):
        super().__init__()
        self.tokens = nn.Embedding(40, 6)
        self.linear = nn.Linear(6, dimension)
        self.dropout = nn.Dropout(dropout)

    def __getitem__(self, index):  # a SentenceTransformer is a sequence of modules
        return [self.tokens, self.linear][index]

    def forward(self, features):
        mask = features["attention_mask"][:, :, None].float()
        pooled = (self.tokens(features["input_ids"]) * mask).sum(1) / mask.sum(1)
        features["sentence_embedding"] = self.linear(self.dropout(pooled))  # in place, as sentence-transformers' modules do
        return features


def column(rows, width, seed):
    """Tokenised texts of different lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 40, (rows, width), generator=generator)
    lengths = torch.randint(1, width + 1, (rows, 1), generator=generator)
    mask = (torch.arange(width) < lengths).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def batch(rows=6, documents=3):
    """A query column and document columns, each of its own width."""
    return [column(rows, 4, 1), *(column(rows, 5 + number, 2 + number) for number in range(documents))]


def rows_of(queries="abcabd", documents=3, **options):
    """Rows whose query ids are letters and whose documents are all different, as p0, n0.1, n0.2."""
    ids = [[f"p{row}", *(f"n{row}.{slot}" for slot in range(1, documents))] for row in range(len(queries))]
    return Rows.from_ids(list(queries), np.array(ids, dtype=object), **options)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return [weight.grad.clone() for weight in model.parameters()]


def cosines(left, right):
    left, right = (np.asarray(side, dtype=np.float64) for side in (left, right))
    return (left / np.linalg.norm(left, axis=-1, keepdims=True)) @ (right / np.linalg.norm(right, axis=-1, keepdims=True)).T


def log_softmax(values):
    values = np.asarray(values, dtype=np.float64)
    return values - values.max() - np.log(np.exp(values - values.max()).sum())
