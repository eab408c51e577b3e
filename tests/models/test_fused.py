"""Packed layers: the same bits where only weights are packed, one rounding less where more is fused, and left alone elsewhere."""

import pytest
import torch
from torch import nn

from tasks.errors import ModelError
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec
from tasks.models.fused import PackedLinear, PackedOutput, fuse
from tasks.models.hardware import cpu_has_bfloat16
from tasks.models.settings import ModelSettings

pytestmark = pytest.mark.skipif(not cpu_has_bfloat16(), reason="needs a CPU with bfloat16")


def layer(inside: int, outside: int, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(inside, outside, bias=bias).to(torch.bfloat16).eval()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 48), (3, 7, 48)])
def test_packed_weights_change_no_bit(bias, shape):
    plain = layer(48, 80, bias)
    inputs = torch.randn(shape).to(torch.bfloat16)
    with torch.inference_mode():
        assert torch.equal(PackedLinear(plain)(inputs), plain(inputs))


def test_a_sum_inside_is_rounded_once():
    """bfloat16 has 8 bits: one rounding is off by 2**-9 of the value at most, relative to the float32 sum (and 1e-3 for its own order)."""
    plain = layer(64, 32)
    inputs, other = torch.randn(5, 64).to(torch.bfloat16), torch.randn(5, 32).to(torch.bfloat16)
    with torch.inference_mode():
        exact = nn.functional.linear(inputs.float(), plain.weight.float(), plain.bias.float())
        summed = PackedLinear(plain).plus(inputs, other).float()
        activated = PackedLinear(plain, gelu=True)(inputs).float()
    assert torch.all((summed - (exact + other.float())).abs() <= (exact + other.float()).abs() * 2**-8 + 1e-3)
    assert torch.all((activated - nn.functional.gelu(exact)).abs() <= nn.functional.gelu(exact).abs() * 2**-8 + 2e-3)


class IntermediateOutput(nn.Module):
    """Looks like BERT's output layer, and subtracts."""

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.dense, self.LayerNorm, self.dropout = layer(16, 16), nn.LayerNorm(16, dtype=torch.bfloat16), nn.Dropout(0.0)
        self.sign = sign

    def forward(self, hidden: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        return self.LayerNorm(self.dense(hidden) + self.sign * inputs)


@pytest.mark.parametrize(("sign", "fused"), [(1.0, True), (-1.0, False)])
def test_what_does_not_compute_the_same_is_put_back(sign, fused):
    model = nn.Sequential()
    model.add_module("last", IntermediateOutput(sign))
    first = model.last
    torch.manual_seed(1)
    hidden, inputs = torch.randn(4, 16).to(torch.bfloat16), torch.randn(4, 16).to(torch.bfloat16)
    with torch.inference_mode():
        before = first(hidden, inputs)
    assert fuse(model, lambda: model.last(hidden, inputs), "small") is fused
    assert isinstance(model.last, PackedOutput) is fused
    if not fused:
        assert model.last is first
        assert isinstance(first.dense, nn.Linear)
        with torch.inference_mode():
            assert torch.equal(model.last(hidden, inputs), before)


def test_the_packaged_model_is_fused_and_says_so_in_its_identity():
    texts = ["gradient boosting of trees", "a pasta dish with eggs and " + "very " * 60 + "fresh basil", "x"]
    specs = {name: document_spec(ModelSettings(backend=name)) for name in ("auto", "torch")}
    exact = document_spec(ModelSettings(dtype="float32"))
    assert (specs["auto"].backend, specs["torch"].backend, exact.backend) == ("fused", "torch", "torch")
    assert len({spec.fingerprint for spec in specs.values()}) == 2
    embedders = {name: Embedder(spec) for name, spec in specs.items()}
    made = {name: embedder.encode(texts).vectors for name, embedder in embedders.items()}
    float32 = Embedder(exact).encode(texts).vectors
    for name, vectors in made.items():
        assert ((vectors * float32).sum(axis=1) > 0.999).all(), name
    kinds = [type(module).__name__ for module in embedders["auto"]._model.modules()]
    assert (kinds.count("PackedOutput"), kinds.count("PackedLinear"), kinds.count("Linear")) == (12, 37, 0)  # 6 layers; 6 in each, 1 pooler


def test_fused_is_for_bfloat16_on_a_cpu():
    spec = document_spec(ModelSettings(backend="fused", dtype="float32"))
    with pytest.raises(ModelError, match="backend fused is for bfloat16 on a CPU, not float32 on cpu"):
        Embedder(spec)
