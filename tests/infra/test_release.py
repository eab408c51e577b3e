"""What `make release` says of an audit: the program's answers as it writes them."""

import json

import pytest

from infra.release import audit

WEAK = {"name": "old", "version": "1.0", "vulns": [{"id": "CVE-1"}, {"id": "CVE-2"}]}
SOUND = {"name": "new", "version": "2.0", "vulns": []}
SKIPPED = {"name": "own", "skip_reason": "Dependency not found on PyPI: own (1.0)"}


@pytest.fixture
def answering(tmp_path):
    """A pip-audit that answers so; ``None``: it ends with an error and writes nothing."""

    def make(packages):
        (tmp_path / "answer.json").write_text(json.dumps({"dependencies": packages}))
        write = "echo 'cannot connect' >&2; exit 1" if packages is None else f'for last; do :; done; cp {tmp_path}/answer.json "$last"'
        program = tmp_path / "pip-audit"
        program.write_text(f"#!/bin/sh\n{write}\n")
        program.chmod(0o755)
        return audit(tmp_path, tmp_path / "requirements.lock", tmp_path)

    return make


@pytest.mark.fault("a dependency with a known weakness", "an audit that answers with one")
def test_known_weaknesses_are_an_error(answering):
    assert answering([WEAK, SOUND, SKIPPED]) == (
        1,
        "audit: 2 packages asked about, 1 skipped, 1 with known weaknesses\nold 1.0: CVE-1, CVE-2",
    )
    assert answering([SOUND]) == (0, "audit: 1 packages asked about, 0 skipped, 0 with known weaknesses")


@pytest.mark.fault("an audit that cannot be done", "no answer, and an answer that knows no package")
def test_an_audit_that_was_not_done_does_not_look_like_one(answering, tmp_path):
    assert answering([SKIPPED, SKIPPED])[1].startswith("audit: NOT DONE, its service knows none of 2 packages: Dependency not found")
    assert answering(None) == (0, "audit: NOT DONE, its service could not be asked: cannot connect")
    assert json.loads((tmp_path / "audit.json").read_text()) == {"audited": False, "reason": "cannot connect"}
