import numpy as np

from tasks.models.lengths import Lengths
from tasks.models.location import packaged


def test_lengths_are_those_of_the_models_own_tokenizer():
    from transformers import AutoTokenizer

    texts = ["a short text", "tokenization of uncommonly long words such as electroencephalographically", ""]
    asked = ["what is it", "why"]
    tokenizer = AutoTokenizer.from_pretrained(packaged())
    counted = Lengths(packaged(), 16)
    assert counted.exact
    assert counted.of_texts(counted.plain(texts)).tolist() == [
        len(ids) for ids in tokenizer(texts, truncation=True, max_length=16)["input_ids"]
    ]
    pairs = tokenizer(["what is it", "why", "what is it"], texts, truncation=True, max_length=16)["input_ids"]
    assert counted.of_pairs(counted.plain(asked), counted.plain(texts)).tolist() == [len(ids) for ids in pairs]
    assert counted.of_pairs(np.empty(0, np.int64), counted.plain(texts[:1])).tolist() == [5]


def test_words_count_where_there_is_no_tokenizer(tmp_path):
    counted = Lengths(tmp_path, 100)
    assert not counted.exact
    # 20 words at 1.35 tokens are 27, and 2 around a text, 3 around a pair
    assert counted.of_texts(counted.plain(["word " * 20])).tolist() == [29]
    assert counted.of_pairs(counted.plain(["two words"]), counted.plain(["word " * 20])).tolist() == [3 + 27 + 3]
    assert counted.plain(["word " * 1_000]).tolist() == [100]
