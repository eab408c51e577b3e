import pytest

from tasks.errors import UsageError
from tasks.judge.questions import judge_prompt
from tasks.judge.settings import JudgeSettings
from tasks.remote.prompts import FOLDER, load_prompt
from tasks.write.negatives import write_prompt
from tasks.write.queries import QueryWriteSettings, query_prompt
from tasks.write.settings import WriteSettings


def test_values_are_put_in_as_they_are(tmp_path):
    path = tmp_path / "own-2.txt"
    path.write_text("# mine\n[system]\nBe {{ mood }}.\n[user]\nQ: {{query}}\n")
    prompt = load_prompt("own-2.txt", {"query", "mood"}, {"query"}, tmp_path)
    filled = prompt.fill({"query": "what is {{mood}}?", "mood": "kind"})
    assert filled == [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Q: what is {{mood}}?"}]
    assert prompt.label.startswith("own-2@")


@pytest.mark.parametrize(("text", "words"), [
    ("[user]\n{{quary}}", r"own.txt:2: there is no field \{\{quary\}\}"),
    ("hello", "own.txt:1: text before the first"),
    ("[system]\n{{query}}", r"no \[user\] section"),
    ("[user]\nhello", r"the field \{\{query\}\} is not in it"),
])  # fmt: skip
def test_a_wrong_prompt_names_its_line(tmp_path, text, words):
    (tmp_path / "own.txt").write_text(text)
    with pytest.raises(UsageError, match=words):
        load_prompt("own.txt", {"query", "document"}, {"query"}, tmp_path)


@pytest.mark.parametrize(("load", "settings", "needed"), [
    (judge_prompt, JudgeSettings.model_validate({"cheap": {"model": "m"}}), ("query", "document")),
    (write_prompt, WriteSettings.model_validate({"model": {"model": "m"}}), ("query", "positive")),
    (query_prompt, QueryWriteSettings.model_validate({"model": {"model": "m"}}), ("document",)),
])  # fmt: skip
def test_a_prompt_that_hides_what_it_is_about_is_refused(tmp_path, load, settings, needed):
    path = tmp_path / "own-1.txt"
    for missing in needed:
        path.write_text("[user]\n" + " ".join(f"{{{{{name}}}}}" for name in needed if name != missing))
        with pytest.raises(UsageError, match=missing):
            load(settings.model_copy(update={"prompt": str(path)}))


def test_an_unknown_prompt_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'judge-pair-1'"):
        load_prompt("judge-pairs-1", {"query"}, ())


def test_every_prompt_that_comes_along_has_a_version():
    assert all(path.stem.rsplit("-", 1)[1].isdigit() for path in FOLDER.glob("*.txt"))
