"""The table that says where photos come from: every way to write it, and every way to get it wrong."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmtt.errors import Rejected, UserError
from mmtt.layout import Layout, salt
from pipelines.sources import Source, load

HEADER = "file,origin,licence"
GOOD = f"{HEADER},subject\na.png,ffhq,CC-BY-4.0,Ann\n"

words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(str.strip).filter(bool)


def read(root: Path, text: str | bytes, name: str = "sources.csv") -> dict[str, Source]:
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(root)


def test_bom_and_windows_line_ends_change_nothing(tmp_path):
    plain = read(tmp_path, GOOD)
    assert plain == {"a.png": Source("a.png", "ffhq", "CC-BY-4.0", subject="Ann")}
    assert read(tmp_path, b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == plain
    assert read(tmp_path, GOOD.replace(",", ", ") + "\n\n") == plain


@settings(max_examples=60, deadline=None)
@given(words, words, words, st.sampled_from(["\n", "\r\n"]))
def test_any_text_survives_csv_and_json_lines(tmp_path_factory, file, origin, subject, end):
    root = tmp_path_factory.mktemp("sources")
    row = {"file": file, "origin": origin, "licence": "CC0-1.0", "subject": subject}
    table = io.StringIO()
    writer = csv.DictWriter(table, list(row), lineterminator=end)
    writer.writeheader()
    writer.writerow(row)
    expected = {file: Source(**row)}
    assert read(root, table.getvalue()) == expected
    (root / "sources.csv").unlink()
    line = json.dumps(row, ensure_ascii=False)
    assert read(root, f"{line}{end}{end}", "sources.jsonl") == expected


def test_file_names_with_line_ends_and_unicode_separators_are_names(tmp_path):
    name = "a\r\nb\u2028c\x0b\x85d.png"
    table = f'{HEADER}\n"{name}",x,CC0-1.0\n'
    assert list(read(tmp_path, table)) == [name]
    (tmp_path / "sources.csv").unlink()
    line = json.dumps({"file": name, "origin": "x", "licence": "CC0-1.0"}, ensure_ascii=False)
    assert list(read(tmp_path, line, "sources.jsonl")) == [name]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,orign,licence\na,b,c\n", "line 2: 'orign' is not a column. Did you mean 'origin'?"),
        (f"{HEADER}\na,b\n{HEADER}\n", None),  # a short row is for `require_usable`
        (f"{HEADER}\na,b,c,d\n", "line 2 has more fields than the header. Quote a field that holds a comma"),
        (f"{HEADER},\na,b,c,d\n", "line 2: '' is not a column. Known: age, consent"),
        ("file,origin\na,b\n", "line 2: the column 'licence' is missing"),
        (f"{HEADER}\na,b,c\nx,b,c\na,d,e\n", "line 4: 'a' has a row already. Keep one"),
        (f"{HEADER}\na,b,c\nA,b,c\n", None),
        (f'{HEADER}\n"a,b,c\nx,b,c\n', "is not CSV after line 1: unexpected end of data. Check its quotes"),
        (f"{HEADER}\n{'a' * 200_000},b,c\n", "field larger than field limit"),
        (f"{HEADER}\na\xe4,b,c\n".encode("latin-1"), "cannot be read as UTF-8 text"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line_and_what_to_do(tmp_path, text, message):
    if message is None:
        assert len(read(tmp_path, text)) == 2
        return
    with pytest.raises(UserError) as caught:
        read(tmp_path, text)
    assert message in str(caught.value)
    assert str(tmp_path / "sources.csv") in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('\n{"file": "a", "origin": "b"}', "line 2: the column 'licence' is missing"),
        ('{"file": "a"', "line 1 is not JSON"),
        ("[1, 2]", "line 1 is not a JSON object"),
        ('{"file": "a", "orgin": 1, "licence": ""}', "Did you mean 'origin'?"),
        ('{"file": "a", "origin": "b", "licence": "c"}\n' * 2, "line 2: 'a' has a row already"),
    ],
)
def test_wrong_json_lines_are_refused_with_their_line(tmp_path, text, message):
    with pytest.raises(UserError) as caught:
        read(tmp_path, text, "sources.jsonl")
    assert message in str(caught.value)


def test_there_must_be_one_table(tmp_path):
    with pytest.raises(UserError, match=r"neither sources.csv nor sources.jsonl.*columns file, origin, licence"):
        load(tmp_path)
    (tmp_path / "sources.jsonl").write_text("")
    with pytest.raises(UserError, match=r"both sources.csv and sources.jsonl"):
        read(tmp_path, GOOD)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"licence": ""}, "no_licence"),
        ({"licence": "CC-BY-3.0"}, None),
        ({"licence": "CC-BY-5"}, "licence_unknown"),
        ({"licence": "LicenseRef-mine"}, None),
        ({"origin": ""}, "no_origin"),
        ({"consent_expiry": "2027-12-31"}, None),
        ({"consent_expiry": "2027-13-01"}, "bad_consent"),
        ({"consent_expiry": "20271231"}, "bad_consent"),
        ({"consent_evidence_sha256": "ab" * 32}, None),
        ({"consent_evidence_sha256": "AB" * 32}, "bad_consent"),
        ({"consent": "Manipulation, redistribution"}, None),
        ({"consent": "nobody"}, None),
        ({"consent": "manipulate"}, "bad_consent"),
        ({"consent": "none manipulation"}, "bad_consent"),
        ({"consent": "nobody redistribution"}, "bad_consent"),
        ({"age": "16"}, None),  # what is done about minors is for the recipe to say
        ({"age": "34.0"}, None),
        ({"age": "30-39"}, None),
        ({"age": "grown up"}, "bad_age"),
        ({"age": "-3"}, "bad_age"),
        ({"age": "²"}, "bad_age"),
    ],
)
def test_a_row_must_say_enough_to_be_used(changes, code):
    source = Source(**{"file": "a", "origin": "b", "licence": "CC0-1.0"} | changes)
    if code is None:
        source.require_usable()
        return
    with pytest.raises(Rejected) as caught:
        source.require_usable()
    assert caught.value.code == code


def test_the_salt_is_made_once_and_never_empty(tmp_path):
    first = salt(Layout(tmp_path))
    assert salt(Layout(tmp_path)) == first
    assert len(first) == 32
    (tmp_path / "private" / "salt").write_text(" \n")
    with pytest.raises(UserError, match=r"is empty. Restore it"):
        salt(Layout(tmp_path))
