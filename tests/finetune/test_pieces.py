from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from sentence_transformers import SentenceTransformer

from tasks.models.pieces import Pieces, without_dropout
from tasks.models.samples import shuffled

TEXTS = [
    "one",
    "two words",
    "three words here",
    "a b c d e f g",
    "x",
    "many more words than all the others have in this list of texts",
    "y z",
]


@pytest.fixture(scope="module")
def model(body):
    made = SentenceTransformer(body, device="cpu")
    without_dropout(made)
    return made.train()


def gradients(model, run, texts):
    model.zero_grad()
    made = run(dict(model.preprocess(texts)))["sentence_embedding"]
    (made * torch.linspace(-1, 1, made.shape[1])).pow(2).sum().backward()
    return made.detach(), [weight.grad.clone() if weight.grad is not None else None for weight in model.parameters()]


@pytest.mark.parametrize("count", [1, 3, 7])
def test_outputs_and_gradients_are_the_model_s(model, count):
    plain, wanted = gradients(model, model, TEXTS[:count])
    with ThreadPoolExecutor(3) as pool:
        made, found = gradients(model, Pieces(model, pool), TEXTS[:count])
        with torch.no_grad():
            quiet = Pieces(model, pool)(dict(model.preprocess(TEXTS[:count])))["sentence_embedding"]
    torch.testing.assert_close(made, plain, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(quiet, made, atol=0, rtol=0)
    assert not quiet.requires_grad
    for left, right in zip(found, wanted, strict=True):
        assert (left is None) == (right is None)
        if left is not None:
            torch.testing.assert_close(left, right, atol=1e-4, rtol=1e-3)


def test_dropout_is_off_and_stays_in_the_configuration(model):
    first, second = (model(dict(model.preprocess(TEXTS)))["sentence_embedding"] for _ in range(2))
    assert torch.equal(first, second)
    assert model[0].auto_model.config.hidden_dropout_prob == 0.1


def test_every_row_once_a_pass():
    import numpy as np

    batches = shuffled(np.array([[0, 10], [10, 13], [0, 10]]), 3, seed=5)
    assert [len(batch) for batch in batches] == [3, 3, 4, 3, 3, 3, 4]  # a last batch of one row joins the one before
    assert sorted(np.concatenate(batches[:3]).tolist()) == list(range(10))
    assert sorted(batches[3].tolist()) == [10, 11, 12]
    assert np.concatenate(batches[:3]).tolist() != np.concatenate(batches[4:]).tolist()
