import pytest

from annotation.people.roster import Wanted, read_roster
from mmtt.errors import UserError


def roster(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "roster.csv"
    path.write_bytes(text.encode(encoding))
    return path


def faults(tmp_path, text) -> list[str]:
    with pytest.raises(UserError) as caught:
        read_roster(roster(tmp_path, text))
    return str(caught.value).split("\n  ")[1:]


def test_what_is_left_out_is_usual(tmp_path):
    path = roster(tmp_path, "email,language\n Jane@Example.org , EN \n")
    assert read_roster(path) == [Wanted(2, "jane@example.org", "en", "", "active", "human")]


def test_a_full_row_is_read_in_any_order_of_columns(tmp_path):
    path = roster(tmp_path, 'writes,status,name,language,email\ntemplate,retired,"Doe, Jané",zh,j@x.org\n')
    assert read_roster(path) == [Wanted(2, "j@x.org", "zh", "Doe, Jané", "retired", "template")]


def test_what_spreadsheets_write_is_read(tmp_path):
    path = roster(tmp_path, "email,language,name\r\na@x.org,en,\r\n,,\r\n\r\nb@x.org,zh,李\r\n", "utf-8-sig")
    assert [(w.line, w.email) for w in read_roster(path)] == [(2, "a@x.org"), (5, "b@x.org")]


def test_every_fault_is_told_with_its_line(tmp_path):
    text = (
        "email,language,status,writes\n"
        "a@x.org,en,active,human\n"
        "nobody,fr,left,parrot\n"
        "A@X.ORG,zh,,\n"
        "b@x.org,en,active,human,extra\n"
        "c@x.org\n"
    )
    told = faults(tmp_path, text)
    lines = ["line 3"] * 4 + ["line 6", "line 5", "line 4"]
    assert sorted(fault.partition(":")[0] for fault in told) == sorted(lines)
    assert [fault for fault in told if "'fr', but must be one of en, zh" in fault]
    assert [fault for fault in told if fault == "line 4: a@x.org stands in line 2 already"]


def test_a_cell_of_several_lines_does_not_shift_the_count(tmp_path):
    told = faults(tmp_path, 'email,language,name\na@x.org,en,"one\ntwo"\nb@x.org,xx,\n')
    assert [fault.partition(":")[0] for fault in told] == ["line 2", "line 4"]
    assert "line break" in told[0]


@pytest.mark.parametrize(
    "email",
    [
        "=cmd|' /C calc'!A0@x.org", "+a@x.org", "-a@x.org", "@x.org", "a@x", "a b@x.org", "a@x.org, b@y.org",
        "a@x.org\nbcc: z@y.org", "a@x.org\x00", "ä@x.org", "\N{KELVIN SIGN}im@x.org", "a@x..org", "a@@x.org",
        '"a"@x.org', "a@x.org;b", "<a@x.org>", "a" * 65 + "@x.org", "a@" + "x." * 130 + "org", "",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(tmp_path, email):
    cell = '"' + email.replace('"', '""') + '"'
    assert faults(tmp_path, f"email,language\n{cell},en\n")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "a\rb", "a\tb", "\x07bell", "\u202eright", "n" * 101])
def test_a_name_that_could_do_harm_is_refused(tmp_path, name):
    assert faults(tmp_path, f'email,language,name\na@x.org,en,"{name}"\n')


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("email", ["no column 'language'"]),
        ("email;language", ["parted by commas"]),
        ("email\tlanguage", ["parted by commas"]),
        ("e-mail,language", ["no column 'email'", "'e-mail' is unknown. Did you mean 'email'?"]),
        ("email,language,email", ["'email' twice"]),
        ("", ["no column 'email'", "no column 'language'"]),
    ],
)
def test_a_wrong_header_is_told(tmp_path, header, told):
    said = " ".join(faults(tmp_path, f"{header}\na@x.org,en\n"))
    assert [text for text in told if text not in said] == []


def test_what_is_no_csv_or_no_text_is_a_sentence(tmp_path):
    assert "no CSV" in faults(tmp_path, 'email,language\n"a@x.org"b,en\n')[0]
    with pytest.raises(UserError, match="not UTF-8"):
        read_roster(roster(tmp_path, "email,language,name\na@x.org,en,Müller\n", "latin-1"))
    with pytest.raises(UserError, match="cannot be read"):
        read_roster(tmp_path / "nowhere.csv")
    with pytest.raises(UserError, match="cannot be read"):
        read_roster(tmp_path)
