import pytest

from tasks.models.cross_encoder import CrossEncoder
from tasks.models.embedder import Embedder
from tasks.models.fingerprint import document_spec, teacher_spec
from tasks.models.location import packaged
from tasks.models.settings import ModelSettings, TeacherSettings


@pytest.fixture(scope="session")
def embedder():
    return Embedder(document_spec(ModelSettings(dtype="float32", device="cpu", max_length=64)))


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory):
    """The packaged encoder with a fixed random head."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = tmp_path_factory.mktemp("teacher")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(packaged(), num_labels=1)
        model.classifier.weight.data.mul_(50)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def teacher(teacher_folder):
    return CrossEncoder(teacher_spec(TeacherSettings(path=str(teacher_folder), dtype="float32", device="cpu", max_length=48)))


@pytest.fixture(scope="session")
def texts():
    sentence = "a vector search index keeps documents near queries while models learn to rank hard negatives and cache them"
    words = sentence.split()
    return [" ".join(words[(row * 7 + at) % len(words)] for at in range(1 + row * 3 % 41)) for row in range(40)] + ["x " * 90]
