"""The prompt of a causal language model that reranks: its text, its tokens, what is cut of a long pair. No torch is imported."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.errors import ModelError
from tasks.models.settings import CausalSettings

CHAT = "chat"  # in the resolved settings: the system message, where the tokenizer's chat template is used


def has_chat_template(folder: Path) -> bool:
    """Whether a model's tokenizer comes with a chat template."""
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(json.loads(config.read_text(encoding="utf-8")).get("chat_template"))


def resolved(settings: CausalSettings, folder: Path, name: str) -> dict[str, str]:
    """What decides a prompt, as strings: template, yes, no, and ``chat`` where the tokenizer's chat template is used.

    Args:
        settings: the user's.
        folder: of the model.
        name: of it, for errors.

    Raises:
        ModelError: a system message is given, and there is no chat template to put it in; yes or no is not one token; or the prompt alone
            has more tokens than the model is given.
    """
    chat = settings.chat_template == "auto" and has_chat_template(folder)
    if settings.system and not chat:
        raise ModelError(
            f"teacher {name}: causal.system is for a chat template, and none is used",
            "put it into causal.template, or take a model whose tokenizer has a chat template (chat_template: auto)",
        )
    space = "" if chat else " "
    found = {
        "template": settings.template,
        "yes": settings.yes or f"{space}yes",
        "no": settings.no or f"{space}no",
        "cut": "longest",  # of a pair: the longer side
    }
    return {**found, CHAT: settings.system} if chat else found


def check(given: Mapping[str, str], folder: Path, max_length: int, name: str) -> None:
    """Fail before anything runs where yes or no is not one token, or the prompt fills the model's length.

    Without a tokenizer.json that is seen when the model is loaded.

    Raises:
        ModelError: as said.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        return
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    unknown = getattr(tokenizer.model, "unk_token", None)
    for answer in ("yes", "no"):
        found = tokenizer.encode(given[answer], add_special_tokens=False)
        check_answer(answer, given[answer], len(found.ids), unknown is not None and found.tokens == [unknown], name)
    bare = given.get(CHAT, "") + given["template"].replace("{query}", "").replace("{document}", "")
    check_room(len(tokenizer.encode(bare, add_special_tokens=False).ids), max_length, name)


def check_answer(answer: str, text: str, tokens: int, is_unknown: bool, name: str) -> None:
    """Refuse a yes or no that is not one token.

    Raises:
        ModelError: as said.
    """
    if tokens != 1 or is_unknown:
        raise ModelError(
            f"teacher {name}: {answer} {text!r} is {tokens} tokens of its tokenizer, or one that it does not know",
            f"set teacher.causal.{answer} to a word that is one token, with or without a space before it",
        )


def check_room(tokens: int, limit: int, name: str) -> None:
    """Refuse a prompt that leaves query and document no room.

    Raises:
        ModelError: as said.
    """
    if limit - tokens < 2:
        raise ModelError(
            f"teacher {name}: its prompt has {tokens} tokens without query and document, and max_length is {limit}",
            "set teacher.max_length higher, or teacher.causal.template and system shorter",
        )


class CausalPrompt:
    """Token ids of prompts.

    Args:
        tokenizer: of transformers.
        given: what :func:`resolved` gives.
        name: of the model, for errors.

    Raises:
        ModelError: the chat template cannot be used.
    """

    def __init__(self, tokenizer: Any, given: Mapping[str, str], name: str) -> None:
        self._tokenizer, self._name = tokenizer, name
        template = given["template"]
        self._special = CHAT not in given  # a chat template writes them itself
        if not self._special:
            template = _chat(tokenizer, template, given[CHAT], name)
        head, self._tail = template.split("{document}")
        self._before, self._between = head.split("{query}")

    def ids(self, pairs: Sequence[tuple[str, str]], limit: int) -> list[tuple[list[int], bool]]:
        """Each pair's prompt as token ids, and whether something was cut off.

        Of a pair that is too long the longer side is cut, as cross-encoders do: a document has half of the room at least, a query the
        other half. What stands before, between and after them stays whole.

        Args:
            pairs: (query, document); the instruction is part of the query.
            limit: tokens at most.

        Raises:
            ModelError: the prompt alone is as long.
        """
        tail, frame = self._encoded([self._tail], special=False)[0], len(self._heads([""])[0])
        check_room(frame + len(tail), limit, self._name)
        heads = self._heads([query for query, _ in pairs])
        documents = self._encoded([document for _, document in pairs], special=False)
        made = []
        for (query, _), head, document in zip(pairs, heads, documents, strict=True):
            room = limit - len(tail)
            for_document = min(len(document), max(room - len(head), (room - frame) // 2))
            is_long = len(head) > room - for_document
            kept = self._shorter(query, room - for_document) if is_long else head
            made.append(([*kept, *document[: room - len(kept)], *tail], is_long or len(document) > room - len(kept)))
        return made

    def _heads(self, queries: Sequence[str]) -> list[list[int]]:
        return self._encoded([self._before + query + self._between for query in queries], special=self._special)

    def _shorter(self, query: str, most: int) -> list[int]:
        """The head with as much of a query's beginning as ``most`` tokens have room for."""
        ends = self._ends(query)
        kept = most - len(self._heads([""])[0])
        while kept > 0:
            head = self._heads([query[: ends[min(kept, len(ends)) - 1]]])[0]
            if len(head) <= most:
                return head
            kept -= len(head) - most
        return self._heads([""])[0]

    def _ends(self, text: str) -> list[int]:
        """Where each token of a text ends, in characters; about, for a tokenizer that cannot tell."""
        if self._tokenizer.is_fast:
            found = self._tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
            return [int(end) for _, end in found["offset_mapping"]]
        count = len(self._encoded([text], special=False)[0])
        return [len(text) * (place + 1) // count for place in range(count)]

    def _encoded(self, texts: Sequence[str], special: bool) -> list[list[int]]:
        found: list[list[int]] = self._tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
        return found


def _chat(tokenizer: Any, template: str, system: str, name: str) -> str:
    """The prompt as the user's message of a chat, and the beginning of the answer; thinking is over where a model would think first."""
    messages = [{"role": "user", "content": template}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    try:
        made = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False))
    except Exception as error:
        raise ModelError(
            f"teacher {name}: its chat template does not take the prompt ({type(error).__name__}: {error})",
            "set teacher.causal.chat_template: never, and write the whole prompt into causal.template",
        ) from error
    if made.count("{query}") != 1 or made.count("{document}") != 1:
        raise ModelError(
            f"teacher {name}: its chat template does not keep {{query}} and {{document}} as they are",
            "set teacher.causal.chat_template: never, and write the whole prompt into causal.template",
        )
    return made
