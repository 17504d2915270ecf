"""Croissant: a release in the words that machines read.

Croissant 1.1 (https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html), its RAI vocabulary 1.0
(`.responsible`), PROV-O for where things came from (`.provenance`), DUO and ODRL for what may be done (`.terms`).
Paths are relative: the document describes the folder that it lies in.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from mmtt.manipulator import FAMILIES
from mmtt.recipe import SPLITS
from mmtt.record import IMAGE, Column, Record
from mmtt.regions import REGIONS
from mmtt.release import CONFIGS
from mmtt.reports import Report
from mmtt.schema import columns

from ..marking.export import MarkedPicture
from . import figures, licence, provenance, responsible, terms
from .answers import Answers
from .facts import Facts, File

CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
SPLIT_TERMS = {"train": "TrainingSplit", "validation": "ValidationSplit", "test": "TestSplit"}
PARQUET = "application/x-parquet"


class Config(NamedTuple):
    """What a configuration holds: the class of its rows, and the column that names a row."""

    row_class: type
    key: str
    meaning: str


_CONFIGS: Mapping[str, Config] = {
    "default": Config(Record, "record_id", "A row for each picture, forged or pristine, with its mask and its text."),
    "raw_reports": Config(Report, "report_id", "A row for each text that was written about a picture."),
    "marked": Config(
        MarkedPicture, "record_id", "The same pictures with content credentials: to show, not to train on."
    ),
}

_MASK = ("cr:SegmentationMask", "sc:ImageObject")
# Columns that mean more than their type says.
_MEANING: Mapping[str, tuple[str, ...]] = {
    "mask": _MASK, "intent": _MASK, "origin_mask": _MASK,
    "manipulation": ("sc:Text", "cr:Label"), "report": ("sc:Text", "cr:Label"), "text": ("sc:Text", "cr:Label"),
    "submitted": ("sc:Date",),
}  # fmt: skip
_ATOMIC: Mapping[pa.DataType, str] = {
    IMAGE: "sc:ImageObject", pa.string(): "sc:Text", pa.bool_(): "sc:Boolean", pa.int8(): "cr:Int8",
    pa.int32(): "cr:Int32", pa.float32(): "cr:Float32", pa.float64(): "cr:Float64",
}  # fmt: skip
_CROISSANT_TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes", "extract", "field",
    "fileProperty", "fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
    "parentField", "path", "recordSet", "references", "regex", "readLines", "repeated", "replace", "samplingRate",
    "sdVersion", "separator", "source", "subField", "transform", "unArchive",
)  # fmt: skip


def document(facts: Facts, answers: Answers) -> dict[str, Any]:
    """Return the Croissant document of a release; equal facts and answers give an equal one."""
    about, release, there = answers.about, facts.release, list(figures.configs(facts.files))
    return {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": about.title,
        "alternateName": release.name,
        "description": about.summary,
        "url": terms.home(about, release),
        "license": licence.address(about.licence, about.licence_url),
        "creator": [{"@type": "sc:Person", "name": author} for author in about.authors],
        "version": release.version,
        "datePublished": release.date,
        "citeAs": terms.citation(about, release),
        "keywords": ["deepfake", "image forensics", "forgery localization", "explanation", "faces"],
        **({"inLanguage": sorted({report.language for report in facts.reports})} if facts.reports else {}),
        "isLiveDataset": False,
        **provenance.of_dataset(facts),
        "usageInfo": terms.usage(facts, about),
        **responsible.properties(facts, answers),
        "distribution": [*map(_file_object, facts.files), *map(_file_set, there)],
        "recordSet": [_splits(), _words("regions", REGIONS), _words("families", FAMILIES),
                      *(_record_set(name, facts) for name in there)],
    }  # fmt: skip


def text(facts: Facts, answers: Answers) -> str:
    """Return the document as JSON text that ends in a newline."""
    return json.dumps(document(facts, answers), indent=1, ensure_ascii=False) + "\n"


def _context() -> dict[str, Any]:
    """The recommended context, `schema.org` as every reader of Croissant spells it: with https."""
    return {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
        "prov": "http://www.w3.org/ns/prov#",
        "duo": "http://purl.obolibrary.org/obo/DUO_",
        "odrl": "http://www.w3.org/ns/odrl/2/",
        "conformsTo": "dct:conformsTo",
        "data": {"@id": "cr:data", "@type": "@json"},
        "examples": {"@id": "cr:examples", "@type": "@json"},
        "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
        "name": {"@container": "@language"},
        "description": {"@container": "@language"},
        **{name: f"cr:{name}" for name in _CROISSANT_TERMS},
    }


def _file_object(file: File) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": f"{file.bytes} B",
        "encodingFormat": PARQUET,
        "sha256": file.sha256,
    }


def _file_set(name: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"{name}-shards",
        "name": f"{name}-shards",
        "description": f"The shards of `{name}`, each of them listed by itself, with its digest.",
        "encodingFormat": PARQUET,
        "includes": f"{CONFIGS[name]}/*.parquet",
    }


def _splits() -> dict[str, Any]:
    rows = [{"splits/name": split, "splits/url": f"cr:{SPLIT_TERMS[split]}"} for split in SPLITS]
    fields = [{"@type": "cr:Field", "@id": f"splits/{name}", "dataType": kind}
              for name, kind in (("name", "sc:Text"), ("url", "sc:URL"))]  # fmt: skip
    return {
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": fields,
        "data": rows,
    }


def _words(name: str, words: tuple[str, ...]) -> dict[str, Any]:
    """An enumeration; of regions, the order is that of the 21-vector."""
    fields = [{"@type": "cr:Field", "@id": f"{name}/{part}", "dataType": kind}
              for part, kind in (("name", "sc:Text"), ("index", "sc:Integer"))]  # fmt: skip
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": "sc:Enumeration",
        "key": {"@id": f"{name}/name"},
        "field": fields,
        "data": [{f"{name}/name": word, f"{name}/index": place} for place, word in enumerate(words)],
    }


def _record_set(name: str, facts: Facts) -> dict[str, Any]:
    config = _CONFIGS[name]
    described = columns(config.row_class)
    stored = [_field(name, column, described[column][0], facts) for column in described if column != "split"]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": config.meaning,
        "key": {"@id": f"{name}/{config.key}"},
        "field": [_split_field(name), *stored],
    }


def _split_field(name: str) -> dict[str, Any]:
    """The split is read off the file's name, so that a reader who asks for one opens no file of another.

    What stands around it is optional: mlcroissant applies the expression twice to a field that refers to another.
    """
    folder = CONFIGS[name]
    return {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "description": "train, validation or test.",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": f"{name}-shards"},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": rf"(?:{folder}/)?({'|'.join(SPLITS)})(?:-.+\.parquet)?"},
        },
        "references": {"field": {"@id": "splits/name"}},  # as the Hub writes it; mlcroissant reads no shorter form
    }


def _field(name: str, column: str, described: Column, facts: Facts) -> dict[str, Any]:
    extract = {"fileSet": {"@id": f"{name}-shards"}, "extract": {"column": column}}
    source = extract | ({"transform": {"jsonPath": "bytes"}} if described.type == IMAGE else {})
    kinds = _kinds(column, described.type)
    return {
        "@type": "cr:Field",
        "@id": f"{name}/{column}",
        "name": column,
        "description": described.meaning,
        "dataType": kinds[0] if len(kinds) == 1 else list(kinds),
        **_shape(column, described.type),
        "source": source,
        **provenance.of_column(column, facts),
    }


def _kinds(column: str, kind: pa.DataType) -> tuple[str, ...]:
    while pa.types.is_list(kind):
        kind = kind.value_type
    return _MEANING.get(column, (_ATOMIC[kind],))


def _shape(column: str, kind: pa.DataType) -> dict[str, Any]:
    sizes = {"report_regions": "21", "align_matrix": "6", "landmarks": "-1,2"}
    return {"isArray": True, "arrayShape": sizes.get(column, "-1")} if pa.types.is_list(kind) else {}
