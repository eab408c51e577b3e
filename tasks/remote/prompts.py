"""Prompts as versioned files: those that come with Hardmine, or a user's own of the same fields."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.errors import UsageError, nearest
from tasks.store.keys import bytes_checksum

FOLDER = Path(__file__).parent / "prompts"
_SECTION = re.compile(r"^\[(system|user)\]\s*$")
_FIELD = re.compile(r"\{\{\s*([a-z_]+)\s*\}\}")


@dataclass(frozen=True)
class Prompt:
    """A prompt file.

    Args:
        name: its file's name without ending, version included, as in ``judge-pair-1``.
        text: the whole file; what answers are kept by is the messages that it makes.
        messages: (role, template) in order.
    """

    name: str
    text: str
    messages: tuple[tuple[str, str], ...]

    @property
    def label(self) -> str:
        """Name and checksum: what the audit shows."""
        return f"{self.name}@{bytes_checksum(self.text.encode())[:8]}"

    def fill(self, values: Mapping[str, object]) -> list[dict[str, str]]:
        """The messages with all fields in place. Values are put in as they are, never read as templates."""
        return [
            {"role": role, "content": _FIELD.sub(lambda found: str(values[found.group(1)]), template)} for role, template in self.messages
        ]


def load_prompt(wanted: str, fields: Collection[str], needed: Collection[str], base: Path = Path()) -> Prompt:
    """A prompt by its name or path.

    Args:
        wanted: ``judge-pair-1``, or the path of a ``.txt`` file of the user's.
        fields: that there are values for.
        needed: those of them without which the prompt would make no sense.
        base: what a relative path starts from.

    Raises:
        UsageError: there is no such prompt; a line of it names an unknown field; a needed field is not named.
    """
    own = wanted.endswith(".txt")
    path = base / Path(wanted).expanduser() if own else FOLDER / f"{wanted}.txt"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        known = [file.stem for file in FOLDER.glob("*.txt")]
        raise UsageError(
            f"prompt {wanted}: {path.name} cannot be read", "give the path of a text file" if own else nearest(wanted, known)
        ) from error
    messages, used = _parsed(str(path) if own else wanted, text, fields)
    missing = sorted(set(needed) - used)
    if missing:
        raise UsageError(
            f"prompt {wanted}: the field {{{{{missing[0]}}}}} is not in it", "the model would not see what it is asked about: add it"
        )
    return Prompt(path.stem, text, messages)


def _parsed(name: str, text: str, fields: Collection[str]) -> tuple[tuple[tuple[str, str], ...], set[str]]:
    sections: list[tuple[str, list[str]]] = []
    used: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        heading = _SECTION.match(line)
        if heading:
            sections.append((heading.group(1), []))
        elif sections:
            for field in _FIELD.findall(line):
                if field not in fields:
                    raise UsageError(f"{name}:{number}: there is no field {{{{{field}}}}}", nearest(field, fields))
                used.add(field)
            sections[-1][1].append(line)
        elif line.strip() and not line.startswith("#"):
            raise UsageError(
                f"{name}:{number}: text before the first [system] or [user]", "begin with such a line; lines above it are comments by #"
            )
    if not any(role == "user" for role, _ in sections):
        raise UsageError(f"{name}: there is no [user] section", "put the question below a line [user]")
    return tuple((role, "\n".join(lines).strip()) for role, lines in sections), used
