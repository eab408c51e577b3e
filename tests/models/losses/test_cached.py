"""GradCache and the gathering over devices."""

import itertools
import socket

import numpy as np
import pytest
import torch
from torch import multiprocessing

from tasks.models.losses.base import Cached
from tasks.models.losses.contrastive import ConfidenceRegularizedLoss, MaskedMultipleNegativesRankingLoss, PassageCentricLoss
from tasks.models.losses.distillation import ContrastiveKlLoss, KlDivergenceLoss
from tasks.models.losses.registry import LOSSES, build
from tasks.models.losses.settings import (
    ConfidenceRegularizedSettings,
    ContrastiveKlSettings,
    InBatchSettings,
    KlDivergenceSettings,
    MaskedMultipleNegativesRankingSettings,
    PassageCentricSettings,
)
from tasks.models.train_settings import TrainSettings
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


KINDS = {
    "multiple_negatives_ranking": {},
    "masked_multiple_negatives_ranking": {},
    "passage_centric": {},
    "confidence_regularized": {},
    "contrastive_kl": {"alpha": 0.3, "scale_loss": True},
}


def loss_of(model, kind, size, gather):
    """A loss as a run's settings give it."""
    loss = {"kind": kind, **KINDS[kind], "gather_across_devices": gather}
    return build(model, TrainSettings.model_validate({"loss": loss, "mini_batch_size": size}).built_loss, rows())


def test_every_loss_that_gathers_is_tested():
    assert {name for name, entry in LOSSES.items() if issubclass(entry.settings, InBatchSettings)} == KINDS.keys()


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_on_one_device_gathering_changes_nothing(kind, size):
    found = []
    for gather in (False, True):
        torch.manual_seed(0)
        model = Tiny()
        value = loss_of(model, kind, size, gather)(batch(), torch.arange(6))
        found.append((value, gradients(model, value)))
    assert torch.equal(found[0][0], found[1][0])
    assert all(torch.equal(left, right) for left, right in zip(found[0][1], found[1][1], strict=True))


def _device(rank, port, results):
    """Half of the batch's rows on each of two processes, gathered; one loss after the other."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    half = slice(3 * rank, 3 * rank + 3)
    for kind, size in itertools.product(KINDS, (None, 2)):
        torch.manual_seed(0)
        model = Tiny()
        features = [{key: value[half] for key, value in column.items()} for column in batch()]
        value = loss_of(model, kind, size, gather=True)(features, torch.arange(6)[half])
        results.put((kind, size, value.item(), [gradient.numpy() for gradient in gradients(model, value)]))
    torch.distributed.destroy_process_group()


def test_gathered_over_two_devices():
    """The mean of the devices' losses, and of their gradients, is that of the whole batch on one: six rows, three on each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_device, args=(rank, port, results), daemon=True) for rank in range(2)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in range(2 * 2 * len(KINDS))]
    for process in processes:
        process.join(timeout=60)
    for kind, size in itertools.product(KINDS, (None, 2)):
        own = [(value, made) for name, given, value, made in found if (name, given) == (kind, size)]
        assert len(own) == 2
        torch.manual_seed(0)
        model = Tiny()
        loss = loss_of(model, kind, None, gather=False)(batch(), torch.arange(6))
        assert np.mean([value for value, _ in own]) == pytest.approx(loss.item(), rel=1e-6, abs=1e-6), kind
        for position, expected in enumerate(gradients(model, loss)):
            mean = np.mean([made[position] for _, made in own], axis=0)
            assert mean == pytest.approx(expected.numpy(), abs=1e-5), kind
