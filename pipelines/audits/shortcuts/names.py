"""Names: what can be read off an id without opening the picture."""

import re

import numpy as np
import pandas as pd

_COMMON = 20  # prefixes and extensions that are told apart; a rarer one could only be learnt by heart
_GRAMS = 200


def name_features(ids: pd.Series, title: str) -> pd.DataFrame:
    """Return features of some ids, a row each: length, kinds of characters, number, prefix, ending, common n-grams.

    `title` starts every column's name. The n-grams are those of 3 and 4 characters that at least 2 % of the ids hold,
    and ten: random hex digits hold hardly any so often, a word does.
    """
    text = ids.fillna("").astype(str)
    number = text.str.extract(r"([0-9]{1,15})", expand=False)
    columns = {
        "length": text.str.len(),
        "digits": text.str.count(r"[0-9]"),
        "capitals": text.str.count(r"[A-Z]"),
        "punctuation": text.str.count(r"[^A-Za-z0-9]"),
        "number": pd.to_numeric(number).astype(float),
        "prefix": _codes(text.str.extract(r"^([^0-9]*)", expand=False)),
        "ending": _codes(text.map(lambda name: match.group() if (match := re.search(r"\.[^.]*$", name)) else "")),
    }
    plain = pd.DataFrame(columns, index=ids.index).astype(float)
    return pd.concat([plain, _n_grams(text)], axis=1).add_prefix(f"{title}: ")


def _codes(values: pd.Series) -> pd.Series:
    counts = values.value_counts()
    common = sorted(counts.index, key=lambda name: (-counts[name], name))[:_COMMON]
    return values.map({name: place + 1 for place, name in enumerate(sorted(common))}).fillna(0)


def _n_grams(text: pd.Series) -> pd.DataFrame:
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(
        analyzer="char",
        ngram_range=(3, 4),
        lowercase=False,
        binary=True,
        max_features=_GRAMS,
        min_df=max(10, len(text) // 50),
    )
    try:
        found = vectorizer.fit_transform(text).toarray()
    except ValueError:  # none is common enough
        return pd.DataFrame(index=text.index)
    names = [f"'{gram}'" for gram in vectorizer.get_feature_names_out()]
    return pd.DataFrame(np.asarray(found, dtype=float), index=text.index, columns=names)
