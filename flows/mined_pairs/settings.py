"""A call as the settings of a round."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from flows.mined_pairs.request import Request
from flows.settings import MineSettings
from tasks.errors import UsageError
from tasks.models.live import activation_of, dtype_of, keep_model
from tasks.models.settings import ModelSettings, TeacherSettings

_LONGEST = 131_072


def settings_of(
    request: Request, root: str, dataset: dict[str, Any], model: ModelSettings, teacher: TeacherSettings | None, seed: int
) -> MineSettings:
    """One round: exact search to the call's depth, and the recipe ``sentence-transformers`` with its filters.

    Args:
        request: the call.
        root: where everything is kept.
        dataset: name, format and files.
        model: the retriever.
        teacher: the cross-encoder; none: no scores.
        seed: of random sampling.
    """
    score = "dense_score"
    if request.rescored:
        score = "teacher_logit" if teacher is not None and teacher.activation == "identity" else "teacher_sigmoid"
    recipe = {
        "name": "sentence-transformers",
        "range_min": request.range_min,
        "range_max": request.range_max,
        "max_positives": request.max_positives,
        "sampling_strategy": request.sampling_strategy,
        "cross_encoder": request.rescored,
        **({"score": score} if request.rescored else {}),
        **request.filters,
    }
    return MineSettings.model_validate(
        {
            "root": root,
            "dataset": {**dataset, "near_duplicates": None},
            "model": model,
            "teacher": teacher,
            "retrieve": {"dense": {"top_k": request.depth, "index": "flat"}, "bm25": None},
            "recipe": recipe,
            "num_negatives": request.num_negatives,
            "formats": [request.output_format],
            "output_scores": request.output_scores,
            "score": score,
            "planted": 0,
            "seed": seed,
        }
    )


def retriever(model: Any, root: str, query_prompt: str, document_prompt: str) -> ModelSettings:
    """The script's bi-encoder, kept under the root.

    Raises:
        UsageError: it compares vectors, or encodes queries and documents, in a way that Hardmine does not have.
    """
    compared = str(getattr(model, "similarity_fn_name", None) or "cosine")
    if compared not in ("cosine", "dot"):
        raise UsageError(
            f"the model compares vectors by {compared}", 'set model.similarity_fn_name = "cosine": for unit vectors the order is the same'
        )
    if any(type(module).__name__ in ("Router", "Asym") for module in model):
        raise UsageError(
            "the model has a router, with other modules for queries than for documents",
            "save both sides, and use `hardmine mine` with document_model",
        )
    return ModelSettings(
        path=str(keep_model(model, _folder(root))),
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        title_template="{text}",
        similarity="cosine",  # as there: vectors are brought to unit length, and then it is the same
        truncate_dim=getattr(model, "truncate_dim", None),
        **_loaded(model),
    )


def scorer(model: Any, root: str, depth: int) -> TeacherSettings:
    """The script's cross-encoder, kept under the root.

    Raises:
        UsageError: it has several outputs, or an activation that keeps no known thresholds.
    """
    if getattr(model, "num_labels", 1) != 1:
        raise UsageError(f"the cross-encoder has {model.num_labels} outputs for a pair", "use one with a single output")
    activation = activation_of(model)
    if activation is None:
        raise UsageError("the cross-encoder's activation is neither Sigmoid nor Identity", "set model.activation_fn = torch.nn.Sigmoid()")
    return TeacherSettings.model_validate(
        {
            "path": str(keep_model(model, _folder(root))),
            "depth": depth,
            "title_template": "{text}",
            "activation": activation,
            **_loaded(model),
        }
    )


def prompt_of(model: Any, given: str | None, name: str | None, usual: tuple[str, ...]) -> str:
    """The text before each input, as ``encode_query`` and ``encode_document`` find it.

    Args:
        model: with ``prompts``.
        given: as text; goes first.
        name: of a prompt of the model.
        usual: names that are tried where neither is given.

    Raises:
        ValueError: the model has no prompt of that name.
    """
    prompts = dict(getattr(model, "prompts", None) or {})
    if given is not None:
        return given
    if name is not None:
        if name not in prompts:
            raise ValueError(f"Prompt name '{name}' not found in the configured prompts dictionary with keys {list(prompts)!r}.")
        return str(prompts[name] or "")
    found = next((known for known in usual if known in prompts), None) or getattr(model, "default_prompt_name", None)
    return str(prompts.get(found) or "") if found else ""


def _loaded(model: Any) -> dict[str, Any]:
    longest = getattr(model, "max_seq_length", None) or _LONGEST
    return {
        "max_length": max(8, min(int(longest), _LONGEST)),
        "dtype": dtype_of(model),
        "device": "cuda" if str(model.device).startswith("cuda") else "cpu",
        "backend": "torch",
    }


def _folder(root: str) -> Path:
    """Where models from scripts are kept: in the root, or beside the copies of what lies in S3."""
    base = Path(tempfile.gettempdir()) / "hardmine-models" if "://" in root else Path(root) / "models"
    base.mkdir(parents=True, exist_ok=True)
    return base
