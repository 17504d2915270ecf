r"""Tokens of an English caption as COCO's evaluation makes them, without Java.

The field's caption scores are computed on tokens of Stanford PTBTokenizer 3.4.1 (`-preserveLines -lowerCase`) less the
marks that `pycocoevalcap` takes out. Here are the same tokens. The rules were found by watching that program on
millions of lines; none of its source was used. Like it, at each place we take the rule that matches most text with what
must follow it, the earlier of two that match as much, and leave out a character that no rule knows.

Known differences, nearly all where that program's answer for a text depends on other texts:

- A line separator (`\n`, `\r`, `\v`, `\f`, U+2028, U+2029) is a space here. `pycocoevalcap` replaces `\n` alone; any
  other one gives all later captions the tokens of another.
- A caption ends at its end. There, an XML tag's quotes, a number after `no.`, or `The` after a lone letter (`a.`) may
  stand in the next caption.
- A Greek capital sigma beside signs of another script is put into lower case by Python's rule, not by Java's.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

from mmtt.metrics import ptb_characters

_DROPPED = frozenset(["''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", ""])
_LINES = str.maketrans(dict.fromkeys("\n\r\v\f\u2028\u2029", " "))
_SPACE = str.maketrans({" ": "\xa0"})
_ROUND = str.maketrans({" ": "\xa0", "(": "-LRB-", ")": "-RRB-"})
_ESCAPES = str.maketrans(
    {"(": "-LRB-", ")": "-RRB-", "[": "-LSB-", "]": "-RSB-", "{": "-LCB-", "}": "-RCB-", "¢": "cents", "£": "#"}
    | {"¼": "1/4", "½": "1/2", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
    | dict.fromkeys("\x80¤₠€", "$")
)
# U+0080 to U+009F stand for what Windows-1252 has there.
_QUOTES = str.maketrans(
    dict.fromkeys("‘‛\x91‹", "`")
    | dict.fromkeys("’\x92›", "'")
    | dict.fromkeys("“\x93«", "``")
    | dict.fromkeys("”\x94»", "''")
)

# Abbreviations keep their full stop. The loose ones do so even if one letter follows without a space.
_FIRM = (
    "adj adm adv alex assoc asst atty attys ave brig capt cf cie cmdr col comdr cpl dept det dr drs elec ens ft gen "
    "gov govs hon insp invt jos lieut lt maj messrs mlle mme mr mrs ms msgr mt natl pfc ph pres prof profs pvt rep "
    "reps rev sen sens sfc sgt spc st ste supt supts treas vs wm"
)
_FIRM_AS_WRITTEN = "Mfg Mtg mfg mtg"
_LOOSE = (
    "al ala apr ariz assn aug bhd bldg blvd bros calif co colo conn corp cos ct dak dec esq est etc ext feb fla fri "
    "ga inc ind intl jan jr jul jun kan kans ky ltd mar md mich minn mo mon mont neb nev nov oct okla penn plc rd "
    "rt sep sept seq sq sr sys tel tenn thu thurs tue tues univ va vt wed wis wisc wyo ph\\.d ed\\.d"
)
_LOOSE_AS_WRITTEN = (
    "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash ARK AZ DEL ILL LA MASS MISS ORE PA TEX WASH [Pp]?[Pp]t[ey]s?"
)
_BEFORE_NUMBERS = "art ca fig figs no nos op pp prop"
_OPENERS = (  # words that open a sentence: a lone letter before one has lost its full stop
    "a about according additionally after an as at but earlier he her here however if in it last many more now once "
    "one other our she since so some such that the their then there these they this we what when while yet you"
)
_EXTENSIONS = (
    "bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py "
    "sql tar txt wav x xml zip"
)
_ASSIMILATED = frozenset(["cannot", "gonna", "gotta", "lemme", "gimme", "wanna"])


def _set(ranges: str) -> str:
    """Return the inside of a regular expression's `[…]` for code points such as `41-5a aa`."""
    return re.sub(r"[0-9a-f]+", lambda code: f"\\u{int(code[0], 16):04x}", ranges).replace(" ", "")


def _any(words: str) -> str:
    return "|".join(sorted(words.split(), key=len, reverse=True))


_L, _D = _set(ptb_characters.LETTERS), _set(ptb_characters.DIGITS)
_LD = _L + _D
_A = r"(?:['’]|\x92|&apos;)"  # an apostrophe
_AA = r"(?:['’‘‛\x91\x92`]|&apos;)"  # what passes for one inside a word
_LETTER = rf"(?:[{_L}{_set(ptb_characters.MARKS)}\xad]|(?i:&[aeiou](?:acute|grave|uml);))"
_WORD = rf"{_LETTER}(?:{_LETTER}|[{_D}])*+(?:[.!?]{_LETTER}(?:{_LETTER}|[{_D}])*+)*+"
_PART = rf"(?:{_LETTER}|[{_D}])++"
_CLITIC = "(?i:[msd]|re|ve|ll)"
_PIECE = rf"(?:[dDoOlL]{_AA}[{_LD}])?[{_LD}]+"
_THING = rf"{_PIECE}(?:[-_֊‐‑]{_PIECE})*"
_COMPOUND = r"[A-Za-z0-9][A-Za-z0-9.,\xad]*+(?:-(?:[A-Za-z](?:\.[A-Za-z])+\.|[A-Za-z0-9\xad]+))+"
_SLASHED = r"[A-Za-z0-9]+(?:-[A-Za-z]+){0,2}"
_BLANK = r" \t\xa0\u2000-\u200a\u3000"
_SPACES = rf"[{_BLANK}]++"
_FIRMS = rf"(?:(?i:{_any(_FIRM)})|{_any(_FIRM_AS_WRITTEN)})\."
_LOOSES = rf"(?:(?i:{_any(_LOOSE)})|{_any(_LOOSE_AS_WRITTEN)})\."
_NAME = r"[A-Za-z][A-Za-z0-9_:.-]*+"
_ATTRIBUTE = rf"{_NAME}(?:[ ]*+=[ ]*+(?:'[^']*+'|\"[^\"]*+\"))?"
_TAG = rf"<(?:[!?][A-Za-z-][^>]*+|/{_NAME}[ ]*+|{_NAME}(?:[ ]++(?:{_ATTRIBUTE})?+)*+(?:/[ ]*+)?)>"
_OPENING = rf"(?:(?=[A-Z])(?i:{_any(_OPENERS)}|m[rs]\.)|{_TAG}){_SPACES}"
_CONTRACTED = (  # words with an apostrophe that stay whole
    rf"[A-HJ-XZn]{_AA}[{_L}]{{2,}}+|[{_L}]{{2,}}+(?<=[aeiouyAEIOUY]){_AA}[aeiouA-Z][{_L}]*+|[oO]{_AA}[oO]"
    rf"|[lLdDjJ]{_A}|[yY]{_A}(?=[{_L}])|{_A}[nN]{_A}"
    rf"|(?i:{_A}(?:em|cause|till?)|ol{_A}|dunkin{_A}|somethin{_A}|o{_A}er|n?e{_A}er|nor{_A}easter|s{_A}mores"
    rf"|c{_A}mon|ma{_A}am|nat{_A}l|cont{_A}d\.|li{_A}l|hallowe{_A}en)"
)
_SITE = r"(?:(?i:www)\.(?:[^ \t\"<>|.!?(){},]+\.)+[a-zA-Z]{2,4}|(?:[^ \t\"`'|!(){}$,-_]+\.)+(?i:com|net|org|edu))"
_MAIL = r" \t\"<>|(){}\xa0"
_PHONE = (
    r"(?:\([0-9]{2,3}\)[ \xa0]?|(?:\+\+?)?(?:[0-9]{2,4}[- \xa0])?[0-9]{2,4}[- \xa0])[0-9]{3,4}[- \xa0]?[0-9]{3,5}"
    r"|(?:(?:\+\+?)?[0-9]{2,4}\.)?[0-9]{2,4}\.[0-9]{3,4}\.[0-9]{3,5}"
)


class _Rule(NamedTuple):
    first: re.Pattern[str]  # what the first character must be
    pattern: re.Pattern[str]  # the token is group 1 where there is one: the rest must follow, and counts for the length
    tokens: Callable[[str], list[str]]


def _leave(text: str) -> list[str]:
    return [text]


def _keep(text: str) -> list[str]:
    return [text.replace("\xad", "")]


def _mark(_: str) -> list[str]:
    return [""]  # it is a token, but one that is always dropped


def _gap(_: str) -> list[str]:
    return []


def _tag(text: str) -> list[str]:
    return [text.translate(_SPACE)]


def _rounded(text: str) -> list[str]:
    return [text.translate(_ROUND)]


def _escaped(text: str) -> list[str]:
    return [text.translate(_ESCAPES)]


def _quoted(text: str) -> list[str]:
    return [text.translate(_QUOTES)]


def _apart(text: str) -> list[str]:
    return [text[:3], text[3:]]


def _contracted(text: str) -> list[str]:
    return [text.replace("&apos;", "'").translate(_QUOTES)]


def _entity(text: str) -> list[str]:
    return [text.lower().replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")]


def _rule(first: str, pattern: str, tokens: Callable[[str], list[str]]) -> _Rule:
    return _Rule(re.compile(f"[{first}]"), re.compile(pattern), tokens)


_WORDS = rf"{_L}{_set(ptb_characters.MARKS)}\xad&"
_ASCII = "A-Za-z0-9"
_MARKED = r"'’‘‛\x91\x92`&"
_RULES = [
    _rule("<", _TAG, _tag),
    _rule(r"-&\x96\x97–—―", r"&(?:mdash|MD|ndash);|[\x96\x97–—―]|-{2,4}|(?i:&quot;|&apos;)", _mark),
    _rule("&", r"(?i)&amp;|&lt;|&gt;", _entity),
    _rule("&", r"&#[0-9]+;", _leave),
    _rule("&", r"(?i)&nbsp;", _gap),
    _rule(_BLANK, _SPACES, _gap),
    # Words.
    _rule("A-Za-z", rf"(?i){'|'.join(sorted(_ASSIMILATED))}", _apart),
    _rule("A-Za-z", rf"([A-Za-z])\.{_SPACES}{_OPENING}", _keep),
    _rule(
        _WORDS + _D,
        rf"({_PART}(?:\.{_PART})*\.(?i:{_any(_EXTENSIONS)}))(?=[{_BLANK}\x85.!?,])",
        _leave,
    ),
    _rule(_WORDS, _WORD, _keep),
    _rule(_ASCII + "<&", rf"(?:&lt;|<)?[{_ASCII}][^{_MAIL}]*@(?:[^{_MAIL}.]+\.)*[^{_MAIL}.]+(?:>|&gt;)?", _leave),
    _rule("A-Za-z", rf"({_LOOSES})(?s:..)", _keep),
    _rule(_WORDS, rf"({_WORD}){_A}{_CLITIC}", _keep),
    _rule(r"A-Za-z\xad", rf"([A-Za-z\xad]*[A-MO-Za-mo-z]\xad*)[nN]{_AA}[tT]", _keep),
    _rule(
        "nN" + _MARKED,
        rf"[nN]{_AA}[tT]|(?:'(?!{_CLITIC}[A-Za-z])|[’\x92]|&apos;){_CLITIC}|('[tT])(?i:was|is)",
        _contracted,
    ),
    _rule(_L + _MARKED, _CONTRACTED, _keep),
    _rule(_MARKED, rf"{_A}[1-9]0[sS]|{_A}[0-9]{{2}}(?=[ \t\xa0])|(?!'){_A}[nN]|('[nN])(?=[ \t])", _keep),
    _rule(_LD, _THING, _keep),
    _rule(_LD, rf"({_THING}){_A}{_CLITIC}", _keep),
    _rule(_ASCII, _COMPOUND, _keep),
    _rule(_WORDS + _D, rf"((?:{_WORD}|{_THING})\.)[,;:、]", _keep),
    _rule(_ASCII, rf"({_COMPOUND}\.)[,;:、]", _keep),
    # Addresses.
    _rule("hH", r"(?i:https?)://[^ \t\"<>|(){}]+[^ \t\"<>|.!?(){},-]", _leave),
    _rule(r"^ \t\"`'|!(){}$,-@[-_", rf"{_SITE}(?:/[^ \t\"<>|()]+[^ \t\"<>|.!?(){{}},-])?", _leave),
    _rule("@#_", rf"@[A-Za-z_][A-Za-z0-9_]*+|#{_LETTER}++|_++|#++|@@++", _leave),
    # Numbers.
    _rule(_D, rf"[{_D}]{{1,2}}[-/][{_D}]{{1,2}}[-/][{_D}]{{2,4}}", _keep),
    _rule(rf"-+.:,\xad\u066b\u066c{_D}", rf"[-+]?(?:[{_D}]*(?:[.:,\xad\u066b\u066c][{_D}]+)+|[{_D}]+)", _keep),
    _rule(_D, rf"(?:[{_D}]{{1,4}}[- \xa0])?[{_D}]{{1,4}}(?:\\?/|\u2044)[{_D}]{{1,4}}", _rounded),
    _rule("⁺⁻₊₋⁰¹²³⁴-⁹₀-₉", r"[⁺⁻₊₋]?(?:[⁰¹²³⁴-⁹]+|[₀-₉]+)", _keep),
    _rule("0-9(+", _PHONE, _rounded),
    _rule(r"A-Z$¢£\x80¤₠€", r"[A-Z]*+\$|[¢£\x80¤₠€]", _escaped),
    # Abbreviations and the like.
    _rule("A-Za-z", r"(?:[A-Za-z]\.)+|[A-Za-z](?:\.[A-Za-z])+", _keep),
    _rule("A-Za-z", _FIRMS, _keep),
    _rule("A-Za-z", _LOOSES, _keep),
    _rule("pP", rf"((?i:pt[ey])\.)[{_BLANK}](?i:ltd|lim)", _keep),
    _rule("A-Za-z", rf"((?i:{_any(_BEFORE_NUMBERS)})\.)[{_BLANK}]?[{_D}]", _keep),
    _rule("A-Z", r"([A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)++\.)[,;:、]|[A-Z]+(?:(?:[+&]|&amp;)[A-Z]+)+", _entity),
    _rule("Cc", r"[Cc]\+\+|[Cc]#", _keep),
    _rule(_ASCII, rf"{_SLASHED}(?:\\?/{_SLASHED}){{1,2}}", _keep),
    # Marks.
    _rule(r".,\"\-\x85…", r"\.{3,5}|\.(?:[ \xa0]\.){2,4}|[\x85….,\"-]", _mark),
    _rule("<>:;=", r"[<>]?[:;=][-o*']?[()DPdpO\\{@|\[\]](?![A-Za-z0-9])", _rounded),
    _rule("-^x=~<>'(", r"[-^x=~<>']_[-^x=~<>']|\([-^x=~<>'][-_.]?[-^x=~<>']\)", _rounded),
    _rule(r"'`‘’‛\x91\x92‹›“”\x93\x94«»„‚‟", r"''|'|[`‘’‛\x91\x92‹›“”\x93\x94«»„‚‟]{1,2}", _quoted),
    _rule(r"-?!\\*<>", r"-{5,}+|[?!]++|(?:\\\*)++|\*++|<<|>>|[<>]", _keep),
    _rule(r"-\][(){}¼½¾⅓⅔", r"(?i:-[LR][RSC]B-)|[][(){}¼½¾⅓⅔]", _escaped),
    _rule(rf"{_set(ptb_characters.SYMBOLS)}#%&@/_~", rf"[{_set(ptb_characters.SYMBOLS)}#%&@/_~]", _keep),
]
_PLAIN = re.compile(r"([A-Za-z]++),?+(?=[ \t])")  # most words: no other rule can match as much


def tokenize(text: str) -> list[str]:
    """Return the tokens of a caption in lower case, without punctuation marks; none for an empty one.

    A token may hold U+00A0, where a phone number, a fraction (`5 1/2`) or a tag stood.
    """
    tokens = list(_tokens(text.translate(_LINES) + "  "))  # some rules look at what follows, two characters at most
    if tokens:
        tokens[-1] = tokens[-1].rstrip()  # as pycocoevalcap strips a line
    return [token for token in tokens if token not in _DROPPED]


def _tokens(text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        plain = _PLAIN.match(text, place)
        if plain and (word := plain[1].lower()) not in _ASSIMILATED:
            place = plain.end()
            yield word
            if text[place - 1] == ",":
                yield ","
        else:
            place, tokens = _longest(text, place)
            yield from map(str.lower, tokens)


def _longest(text: str, place: int) -> tuple[int, list[str]]:
    """Return where the longest match ends, without what must only follow, and its tokens."""
    longest, reach, end = None, place, place + 1
    for rule in _rules(text[place]):
        found = rule.pattern.match(text, place)
        if found and found.end() > reach:
            longest, reach, end = rule, found.end(), found.end(found.lastindex or 0)
    return end, longest.tokens(text[place:end]) if longest else []


@lru_cache(maxsize=4096)
def _rules(first: str) -> tuple[_Rule, ...]:
    return tuple(rule for rule in _RULES if rule.first.match(first))
