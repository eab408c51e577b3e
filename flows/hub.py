"""The Hugging Face hub: a dataset's card, and its upload. The token comes from the environment or `hf auth login`, and is never told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.errors import HardmineError, UsageError

_WITHOUT = "write the folder with --out FOLDER, and push it where there is a network: hf upload OWNER/NAME FOLDER --repo-type dataset"


class HubError(HardmineError):
    """The hub cannot be reached, or refuses."""


def render_card(head: Mapping[str, Any], text: str) -> str:
    """A card, as ``huggingface_hub`` reads it back.

    Args:
        head: fields of ``DatasetCardData``.
        text: Markdown.

    Raises:
        ValueError: the head is no valid one.
    """
    from huggingface_hub import DatasetCard, DatasetCardData

    content = f"---\n{DatasetCardData(**head).to_yaml()}\n---\n\n{text}"
    return str(DatasetCard(content))


@dataclass(frozen=True)
class Hub:
    """A dataset repository that may be pushed to."""

    repository: str
    api: Any

    @classmethod
    def reached(cls, repository: str) -> Hub:
        """The repository's hub, asked who the user is.

        Raises:
            UsageError: the name is none of a repository, or there is no token.
            HubError: the hub cannot be reached.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

        try:
            validate_repo_id(repository)
        except HFValidationError as error:
            raise UsageError(f"--to {repository!r}: {error}", "as in --to my-team/cranfield-negatives") from None
        if "/" not in repository:
            raise UsageError(f"--to {repository!r}: whose repository?", f"as in --to my-team/{repository}")
        api = HfApi()
        _asked(api.whoami, repository)
        return cls(repository, api)

    def push(self, folder: Path, private: bool, message: str) -> str:
        """Make the repository where it is not there, check the card with the hub, and upload the folder as one commit.

        Returns:
            The commit's address.

        Raises:
            HubError: the hub refuses the card or the upload, or goes away.
        """
        from huggingface_hub import DatasetCard

        def upload() -> str:
            DatasetCard.load(folder / "README.md").validate()
            self.api.create_repo(self.repository, repo_type="dataset", private=private, exist_ok=True)
            done = self.api.upload_folder(repo_id=self.repository, repo_type="dataset", folder_path=str(folder), commit_message=message)
            return str(done.commit_url)

        return str(_asked(upload, self.repository))


def _asked(question: Callable[[], Any], repository: str) -> Any:
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled

    try:
        return question()
    except LocalTokenNotFoundError:
        raise UsageError(f"{repository}: there is no token of the hub", f"`hf auth login`, or set HF_TOKEN; {_WITHOUT}") from None
    except OfflineModeIsEnabled:
        raise HubError(f"{repository}: HF_HUB_OFFLINE is set", f"unset it; or {_WITHOUT}") from None
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        told = str(getattr(error, "server_message", None) or "").strip() or "no reason given"
        raise HubError(
            f"{repository}: the hub answers {status}: {told}", f"look at the token's rights and the name; or {_WITHOUT}"
        ) from None
    except ValueError as error:
        raise HubError(f"{repository}: the hub does not take the card: {error}", "see --license and --language") from None
    except Exception as error:  # of whatever HTTP library the client has
        raise HubError(f"{repository}: the hub cannot be reached: {type(error).__name__}", f"look at the network; or {_WITHOUT}") from None
