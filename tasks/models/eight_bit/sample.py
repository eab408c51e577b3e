"""Texts by which scales are found: of several kinds and languages, short ones and long ones. They are part of what an 8-bit model is."""

from __future__ import annotations

_SENTENCES = (
    "The harbour was closed for two days after the storm, and no ferry reached the island before Thursday.",
    "Return the indices that would sort an array along the given axis; NaN values are placed at the end.",
    "How do I change the delivery address of an order that has already been paid for?",
    "Patients who were given 20 mg a day recovered 3.4 days earlier (95 % confidence interval 1.2 to 5.6) than those on placebo.",
    "def mean(values: list[float], weights=None) -> float: raise ValueError('empty') if not values else sum(values) / len(values)",
    "Der Vertrag verlängert sich um ein Jahr, wenn er nicht drei Monate vor Ablauf schriftlich gekündigt wird.",
    "La bibliothèque municipale ouvre à neuf heures, sauf le lundi et les jours fériés.",
    "El volcán lleva dormido desde 1902; los geólogos vigilan cada temblor de la ladera norte.",
    "東京の天気は明日の午後から雨になるでしょう。",
    "Скорость света в вакууме равна 299 792 458 метрам в секунду.",
    "what is the capital of australia",
    "SELECT name, COUNT(*) FROM orders WHERE paid = TRUE GROUP BY name HAVING COUNT(*) > 10 ORDER BY 2 DESC;",
    "See https://example.org/docs?page=2#install for the options -v, --quiet and --max-depth=N.",
    "In 1854 she moved to the coast, where she painted the series of seascapes that would make her famous after her death.",
    "error: cannot open file 'data_01.csv' (No such file or directory), line 42, column 7",
    "The mitochondrion produces most of the cell's supply of adenosine triphosphate, used as a source of chemical energy.",
    "ok",
    "Whisk 3 eggs with 150 g of sugar until pale, fold in the flour, and bake at 180 °C for 25 minutes.",
    "The court held that the agreement was void, since neither party had the authority to sign it.",
    "Parameters: x : array_like of shape (n, m), the input data; axis : int, optional, default -1. Returns: out : ndarray of float64.",
    "Share prices fell 2.5% on Monday; analysts blamed higher interest rates, a stronger dollar and weak exports.",
    "!!! ### <div class='note'> *** </div> $$$ %%% @user #topic ...",
    "A triangle whose sides measure 3, 4 and 5 has a right angle opposite the longest side.",
    "My card was swallowed by the cash machine and I need a new one as soon as possible.",
)


def _joined(start: int, count: int) -> str:
    return " ".join(_SENTENCES[(start + place * 5) % len(_SENTENCES)] for place in range(count))


TEXTS = (*_SENTENCES, *(_joined(start, 3) for start in range(0, 24, 4)), *(_joined(start, 12) for start in range(4)))
PAIRS = (
    *((_SENTENCES[(number * 7) % len(_SENTENCES)], text) for number, text in enumerate(TEXTS)),
    *((text, _joined(number, 3)) for number, text in enumerate(_SENTENCES)),
)
