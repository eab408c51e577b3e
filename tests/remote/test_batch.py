import json

import pytest

from tasks.audit.asks import keep_import, read_asks
from tasks.remote.ask import ask, known
from tasks.remote.batch import Export, Exported, import_answers
from tests.remote.server import Endpoint, serving
from tests.remote.test_ask import GOOD, Verdict, questions, settings, storage, well

assert storage  # a fixture


class Nowhere:
    url = "http://127.0.0.1:9"


def completion(content, finish="stop", refusal=None):
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {"model": "m", "choices": [{"message": message, "finish_reason": finish}], "usage": {"prompt_tokens": 9, "completion_tokens": 4}}


def test_prompts_go_out_and_answers_come_in_by_file(storage, tmp_path):
    chosen = settings(Nowhere, price_in=1.0, price_out=1.0)
    prompts, output = tmp_path / "p.jsonl", tmp_path / "out.jsonl"
    with pytest.raises(Exported) as exported:
        ask(storage, chosen, questions(8), Verdict, export=Export(prompts, "toy", 1, "judge"))
    lines = [json.loads(line) for line in prompts.read_text().splitlines()]
    assert exported.value.prompts == len(lines) == 8
    assert {(line["method"], line["url"]) for line in lines} == {("POST", "/v1/chat/completions")}
    assert lines[0]["body"]["model"] == "scripted"
    assert lines[0]["body"]["response_format"]["json_schema"]["name"] == "Verdict"
    bodies = [completion(GOOD), completion("nonsense"), completion("", refusal="no"), completion(GOOD, "length")]
    rows = [{"custom_id": line["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
            for line, body in zip(lines, bodies, strict=False)]  # fmt: skip
    rows.append({"custom_id": lines[4]["custom_id"], "response": {"status_code": 500, "body": {}}, "error": None})
    rows.append({"custom_id": lines[5]["custom_id"], "response": None, "error": {"code": "expired"}})
    rows.append({"custom_id": "f" * 32, "response": {"status_code": 200, "body": completion(GOOD)}})
    rows.append({"custom_id": lines[6]["custom_id"], "response": {"status_code": 200, "body": {"choices": []}}})
    output.write_text("\n".join(map(json.dumps, rows)) + "\nnot json\n")
    taken = import_answers(storage, [output], {"Verdict": Verdict})
    assert (taken.answers, taken.known, taken.left) == (4, 0, 2)
    assert dict(taken.by_status) == {"ok": 1, "malformed": 2, "refused": 1}
    assert [line.split(": ")[0] for line in taken.aside] == [f"{output}:{number}" for number in (7, 8, 9)]
    ((record, kept),) = taken.kept
    keep_import(storage, record, kept)
    (told,) = read_asks(storage)
    assert (told.dataset, told.round, told.purpose, told.questions, told.calls, told.left) == ("toy", 1, "judge (batch)", 8, 4, 4)
    assert (told.malformed, told.refused, told.money) == (2, 1, 52e-6)
    found = known(storage, chosen, questions(8), Verdict)
    assert [answer.status if answer else None for answer in found.answers] == ["ok", None, "refused", *[None] * 5]
    assert found.answers[0].money == 13e-6
    assert import_answers(storage, [output], {"Verdict": Verdict}).known == 4  # the malformed ones too: they are not paid for twice
    assert known(storage, chosen, questions(8), Verdict).answers[1] is None
    with pytest.raises(Exported) as left:
        ask(storage, chosen, questions(8), Verdict, export=Export(prompts, "toy", 1, "judge"))
    assert left.value.prompts == 6
    with serving(Endpoint(well)) as endpoint:  # what is left, and malformed ones with their reason, can be asked as well
        done = ask(storage, settings(endpoint, price_in=1.0, price_out=1.0), questions(8), Verdict, export=None)
        assert (done.open, endpoint.calls) == (0, 6)
        assert sorted(len(body["messages"]) for body in endpoint.bodies("completions")) == [1, 1, 1, 1, 3, 3]
    assert ask(storage, chosen, questions(8), Verdict, export=Export(prompts, "toy", 1, "judge")).open == 0  # nothing is left to export


def test_of_several_answers_to_a_prompt_the_one_of_use_is_kept(storage, tmp_path):
    """A request that was sent again: both files in one import, or one line after the other; what both cost is counted."""
    chosen, prompts = settings(Nowhere, price_in=1.0, price_out=1.0), tmp_path / "p.jsonl"
    with pytest.raises(Exported):
        ask(storage, chosen, questions(2), Verdict, export=Export(prompts, "toy", 1, "judge"))
    ids = [json.loads(line)["custom_id"] for line in prompts.read_text().splitlines()]
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    for path, contents in ((first, ["nonsense", GOOD]), (second, [GOOD, "nonsense"])):
        rows = [{"custom_id": key, "response": {"status_code": 200, "body": completion(content)}}
                for key, content in zip(ids, contents, strict=True)]  # fmt: skip
        path.write_text("\n".join(map(json.dumps, rows)))
    taken = import_answers(storage, [first, second], {"Verdict": Verdict})
    assert (taken.answers, dict(taken.by_status)) == (2, {"ok": 2})
    found = known(storage, chosen, questions(2), Verdict)
    assert [(one.status, one.calls, one.money) for one in found.answers] == [("ok", 2, 26e-6), ("ok", 1, 13e-6)]
    for record, kept in taken.kept:
        keep_import(storage, record, kept)
    assert (read_asks(storage)[0].calls, read_asks(storage)[0].malformed) == (3, 0)
