import sys

import pytest
from pydantic import ValidationError

from tasks.models.settings import ModelSettings, TeacherSettings, TeacherTraining


def test_defaults():
    model = ModelSettings()
    assert (model.path, model.max_length, model.dtype, model.vector_dtype) == ("packaged:all-MiniLM-L6-v2", 256, "auto", "float32")


@pytest.mark.parametrize("given", [{}, {"path": "x", "train": {}}])
def test_teacher_is_either_there_or_trained(given):
    with pytest.raises(ValidationError, match="either path"):
        TeacherSettings.model_validate(given)


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ValidationError, match="max_length"):
        ModelSettings.model_validate({"max_lenght": 3})


def test_ranks_in_order():
    with pytest.raises(ValidationError, match="min_rank"):
        TeacherTraining(min_rank=9, max_rank=3)


def test_template_needs_text():
    with pytest.raises(ValidationError, match="text"):
        ModelSettings(title_template="{title}")
    with pytest.raises(ValidationError, match="takes"):
        ModelSettings(title_template="{author}: {text}")


def test_definitions_import_no_torch():
    import subprocess

    code = (
        "import sys; import tasks.embed.stage, tasks.embed.lineage, tasks.score.stage, tasks.train.teacher, tasks.models.fingerprint;"
        "from tasks.models.fingerprint import document_spec; from tasks.models.settings import ModelSettings;"
        "document_spec(ModelSettings());"
        "sys.exit(bool({'torch', 'transformers', 'sentence_transformers', 'faiss', 'sklearn', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
