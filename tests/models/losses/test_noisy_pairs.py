import numpy as np
import pytest
import torch

from tasks.models.losses.noisy_pairs import NoisyPairCorrectorLoss, clean_probability, corrected, move_average, perplexity
from tasks.models.losses.settings import NoisyPairCorrectorSettings
from tests.models.losses.tiny import Tiny, batch, cosines, gradients, log_softmax, rows_of

LABELS = torch.arange(6)


def test_perplexity_by_hand():
    """ln 3 against three random documents of 0: −log(3 / 6)."""
    assert perplexity(torch.tensor([np.log(3)]), torch.zeros(1, 3)).tolist() == pytest.approx([np.log(2)])


def plain_mixture(values, steps=500):
    """Expectation and maximisation for two Gaussians from a split at the middle: chance of the lower one."""
    low = (values < (values.min() + values.max()) / 2).astype(float)
    for _ in range(steps):
        shares = np.stack([low, 1 - low])
        weight, mean = shares.mean(1), (shares * values).sum(1) / shares.sum(1)
        variance = (shares * (values - mean[:, None]) ** 2).sum(1) / shares.sum(1) + 1e-6
        density = (
            weight[:, None] * np.exp(-((values - mean[:, None]) ** 2) / (2 * variance[:, None])) / np.sqrt(2 * np.pi * variance[:, None])
        )
        low = density[0] / density.sum(0)
    return low


def test_mixture_against_plain_expectation_maximisation():
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(0.5, 0.2, 300), generator.normal(3.0, 0.8, 100)])
    found = clean_probability(values)
    assert found == pytest.approx(plain_mixture(values), abs=0.03)
    assert (found >= 0.5)[:300].mean() > 0.97
    assert (found >= 0.5)[300:].mean() < 0.05


def test_all_alike_are_clean():
    assert clean_probability(np.full(5, 0.7)).tolist() == [1.0] * 5


def test_moving_average_by_hand():
    """0.9 · 1 + 0.1 · 2 = 1.1, then 0.9 · 1.1 + 0.1 · 2 = 1.19."""
    old, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    with torch.no_grad():
        old.weight.fill_(1.0)
        new.weight.fill_(2.0)
    move_average(old, new, 0.9)
    assert old.weight.item() == pytest.approx(1.1)
    move_average(old, new, 0.9)
    assert old.weight.item() == pytest.approx(1.19)
    assert new.weight.item() == 2.0


def plain_corrected(student, average, positive, mask, clean, consistency):
    kept = [j for j in range(len(student)) if not mask[j] or j == positive]
    contrast = -log_softmax(student[kept])[kept.index(positive)]
    target, made = log_softmax(average), log_softmax(student)
    return (contrast if clean else 0.0) + consistency * np.sum(np.exp(target) * (target - made))


def test_corrected_against_numpy():
    student, average = torch.randn(4, 7, dtype=torch.float64), torch.randn(4, 7, dtype=torch.float64)
    positives, mask = torch.tensor([0, 1, 2, 3]), torch.rand(4, 7) < 0.3
    clean = torch.tensor([True, False, True, False])
    found = corrected(student, average, positives, mask, clean, consistency=0.7)
    rows = zip(student.numpy(), average.numpy(), positives.tolist(), mask.tolist(), clean.tolist(), strict=True)
    assert found.numpy() == pytest.approx(np.array([plain_corrected(*row, 0.7) for row in rows]))
    student.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: corrected(x, average, positives, mask, clean), student)


def test_a_noisy_pair_that_agrees_with_the_average_has_no_gradient():
    scores = torch.randn(2, 5, requires_grad=True)
    loss = corrected(scores, scores.detach(), torch.tensor([0, 1]), torch.zeros(2, 5, dtype=torch.bool), torch.tensor([False, True]))
    loss.sum().backward()
    assert scores.grad[0].abs().max() < 1e-6
    assert scores.grad[1].abs().max() > 0.1


def test_module_against_numpy():
    model, features = Tiny(), batch()
    loss = NoisyPairCorrectorLoss(model, NoisyPairCorrectorSettings(momentum=0.5), rows_of(suspected=(["c"], ["p0"])))
    assert loss.refit(np.array([0.1, 0.2, 5.0, 0.15, 4.9, 0.12])) == 2
    assert loss.clean.tolist() == [True, True, False, True, False, True]
    first = model.linear.weight.detach().clone()
    with torch.no_grad():
        model.linear.weight.add_(torch.randn_like(first))
    loss.step()
    assert torch.allclose(loss.average.linear.weight, (first + model.linear.weight) / 2, atol=1e-6)

    def scores(encoder):
        vectors = [encoder(dict(column))["sentence_embedding"].detach().numpy() for column in features]
        return 20 * cosines(vectors[0], np.concatenate(vectors[1:]))

    masks = np.zeros((6, 18), dtype=bool)
    for row, others in {0: [3], 3: [0], 1: [4], 4: [1], 2: [0]}.items():
        masks[row, others] = True
    expected = [
        plain_corrected(ours, theirs, row, masks[row], bool(loss.clean[row]), 1.0)
        for row, (ours, theirs) in enumerate(zip(scores(model), scores(loss.average), strict=True))
    ]
    found = loss.train()(features, LABELS)
    assert not loss.average.training  # no dropout in what the student is held to
    assert found.item() == pytest.approx(np.mean(expected), rel=1e-4)
    assert all(gradient is not None for gradient in gradients(model, found))
    assert all(weight.grad is None for weight in loss.average.parameters())
