"""GradCache and the gathering over devices."""

import socket

import numpy as np
import pytest
import torch
from torch import multiprocessing

from tasks.models.losses.base import Cached
from tasks.models.losses.contrastive import ConfidenceRegularizedLoss, MaskedMultipleNegativesRankingLoss, PassageCentricLoss
from tasks.models.losses.distillation import ContrastiveKlLoss, KlDivergenceLoss
from tasks.models.losses.settings import (
    ConfidenceRegularizedSettings,
    ContrastiveKlSettings,
    KlDivergenceSettings,
    MaskedMultipleNegativesRankingSettings,
    PassageCentricSettings,
)
from tests.models.losses.tiny import Tiny, batch, gradients, rows_of

CASES = [
    (MaskedMultipleNegativesRankingLoss, MaskedMultipleNegativesRankingSettings()),
    (ConfidenceRegularizedLoss, ConfidenceRegularizedSettings()),
    (PassageCentricLoss, PassageCentricSettings()),
    (ContrastiveKlLoss, ContrastiveKlSettings(alpha=0.3)),
    (KlDivergenceLoss, KlDivergenceSettings()),
]


def rows():
    generator = np.random.default_rng(0)
    values = {"teacher": generator.normal(size=(6, 3)).astype(np.float32), "weight": generator.random((6, 3)).astype(np.float32)}
    return rows_of(positives=(["a"], ["n2.1"]), suspected=(["c"], ["p0"]), values=values)


@pytest.mark.parametrize("size", [1, 4, 6, 100])
@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_cached_gradients_are_the_same(kind, settings, size):
    model, features, labels = Tiny().double(), batch(), torch.arange(6)
    loss = kind(model, settings, rows())
    cached = Cached(loss, size)
    assert cached(features, labels).item() == pytest.approx(loss(features, labels).item(), abs=1e-6)
    for left, right in zip(gradients(model, cached(features, labels)), gradients(model, loss(features, labels)), strict=True):
        assert torch.allclose(left, right, atol=1e-6)


def test_cached_without_gradients():
    model, features, labels = Tiny().double(), batch(), torch.arange(6)
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows())
    with torch.no_grad():
        assert Cached(loss, 4)(features, labels).item() == pytest.approx(loss(features, labels).item(), abs=1e-6)


def test_dropout_is_the_same_in_both_passes():
    """With dropout the cached gradients are those of the first pass' loss: finite differences along the gradient, one random state."""
    model, features, labels = Tiny(dropout=0.3).double(), batch(), torch.arange(6)
    cached = Cached(MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows()), 4)
    state = torch.get_rng_state()
    found = gradients(model, cached(features, labels))

    def value(step):
        torch.set_rng_state(state)
        with torch.no_grad():
            for weight, gradient in zip(model.parameters(), found, strict=True):
                weight.add_(gradient, alpha=step)
            loss = cached(features, labels)
            for weight, gradient in zip(model.parameters(), found, strict=True):
                weight.sub_(gradient, alpha=step)
        return loss.item()

    slope = (value(1e-6) - value(-1e-6)) / 2e-6
    assert slope == pytest.approx(sum((gradient**2).sum().item() for gradient in found), rel=1e-4)


def _device(rank, port, results, size):
    """Half of the batch's rows on each of two processes, gathered."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    torch.manual_seed(0)
    model, half = Tiny(), slice(3 * rank, 3 * rank + 3)
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(gather_across_devices=True), rows())
    loss = Cached(loss, size) if size else loss
    features = [{key: value[half] for key, value in column.items()} for column in batch()]
    value = loss(features, torch.arange(6)[half])
    results.put((rank, value.item(), [gradient.numpy() for gradient in gradients(model, value)]))
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("size", [0, 2])
def test_gathered_over_two_devices(size):
    """The mean of the devices' losses, and of their gradients, is that of the whole batch on one."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_device, args=(rank, port, results, size), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    torch.manual_seed(0)
    model = Tiny()
    loss = MaskedMultipleNegativesRankingLoss(model, MaskedMultipleNegativesRankingSettings(), rows())(batch(), torch.arange(6))
    assert np.mean([value for _, value, _ in found]) == pytest.approx(loss.item(), abs=1e-6)
    for position, expected in enumerate(gradients(model, loss)):
        mean = np.mean([of_device[position] for _, _, of_device in found], axis=0)
        assert mean == pytest.approx(expected.numpy(), abs=1e-5)
