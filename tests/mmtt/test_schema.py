import json
import os
import subprocess
import sys
from dataclasses import dataclass, fields
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest

from mmtt.record import IMAGE, SCHEMA_VERSION, Assignment, Lineage, PlanRow, Record, Rejection
from mmtt.reports import Report
from mmtt.schema import arrow_schema, card_table, columns, features, from_table, to_table
from mmtt.shards import ShardWriter
from tests.factories import make_forged_record, make_record

ROW_CLASSES = (Record, Rejection, Lineage, Assignment, PlanRow, Report)
GOLDEN = Path(__file__).parents[1] / "golden" / "schema.json"
REGENERATE = "python -m tests.mmtt.test_schema"


def described():
    """Every column of every table as plain data: name, type, whether it may be null."""
    tables = {
        row_class.__name__: {name: [str(c.type), nullable] for name, (c, nullable) in columns(row_class).items()}
        for row_class in ROW_CLASSES
    }
    return {"schema_version": SCHEMA_VERSION, "tables": tables}


def test_the_schema_is_the_committed_one():
    """A reader somewhere depends on each column: changing one takes a version, a migration and this file."""
    assert described() == json.loads(GOLDEN.read_text(encoding="utf-8")), (
        "The columns changed. If that is meant: raise SCHEMA_VERSION in mmtt/record.py and add a migration in "
        f"mmtt/shards.py when Record changed, then regenerate {GOLDEN.name} with `{REGENERATE}`."
    )


@pytest.mark.parametrize("row_class", ROW_CLASSES)
def test_the_cards_table_names_every_column_with_its_type_and_meaning(row_class):
    lines = card_table(row_class).splitlines()[2:]
    for line, item, (column, nullable) in zip(lines, fields(row_class), columns(row_class).values(), strict=True):
        name, kind, meaning = (cell.strip() for cell in line.strip("|").split("|"))
        assert name == f"`{item.name}`"
        assert meaning == column.meaning
        assert kind.endswith(", nullable") == nullable
        assert kind.startswith("image") == (column.type == IMAGE)


@pytest.mark.parametrize("row_class", ROW_CLASSES)
def test_every_meaning_is_a_sentence(row_class):
    for name, (column, _) in columns(row_class).items():
        assert column.meaning.endswith("."), name
        assert "|" not in column.meaning, name


def test_a_field_without_a_column_is_a_bug_that_is_named():
    @dataclass
    class Row:
        bare: int

    with pytest.raises(TypeError, match=r"Row.bare has no Column"):
        columns(Row)


def test_no_path_of_this_machine_is_stored():
    table = to_table([make_forged_record()])
    for name in ("image", "mask", "pristine", "alpha", "change"):
        assert table.column(name).to_pylist()[0]["path"] is None


def test_rows_survive_a_table():
    records = [make_record(), make_forged_record()]
    back = from_table(to_table(records), Record)
    assert [r.image for r in back] == [r.image for r in records]
    assert back[0].pristine is None
    rejection = Rejection(stage="forge", code="x", detail="why", record_id="1")
    assert from_table(to_table([rejection], Rejection), Rejection) == [rejection]


def test_an_empty_table_has_the_schema():
    assert to_table([], Rejection).schema == arrow_schema(Rejection)
    assert from_table(to_table([]), Record) == []


@pytest.mark.parametrize("name", [f.name for f in fields(Record) if not columns(Record)[f.name][1]])
def test_a_null_is_refused_where_a_value_must_be(name):
    with pytest.raises(ValueError, match=name):
        to_table([make_record(), make_record(**{name: None})])


# A stranger's process: `datasets` and Parquet files, and nothing of this package.
STRANGER = """
import json, sys
import numpy as np
sys.modules.update(dict.fromkeys(("mmtt", "pipelines", "tests")))  # as if nobody had installed us
from datasets import Image, load_dataset
rows = load_dataset("parquet", data_files=sys.argv[1], split="train")
images = [name for name, feature in rows.features.items() if isinstance(feature, Image)]
masks = [np.asarray(row["mask"]) for row in rows]
forged = rows[1]
print(json.dumps({
    "features": rows.features.to_dict(),
    "images": images,
    "mask_values": [sorted(set(np.unique(mask).tolist())) for mask in masks],
    "mask_shapes": [mask.shape for mask in masks],
    "image_modes": [row["image"].mode for row in rows],
    "pixels": np.asarray(forged["image"]).tolist(),
    "regions": forged["regions"],
    "pristine_of_pristine": rows[0]["pristine"],
}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("public")
    writer = ShardWriter(folder / "a.parquet", Record)
    writer.add(make_record(0))
    writer.add(make_forged_record(1))
    writer.close()
    known = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HF_TOKEN")}
    environment = known | {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", STRANGER, str(folder / "a.parquet")],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_stranger_gets_images_without_this_package(loaded):
    assert loaded["images"] == [name for name, (column, _) in columns(Record).items() if column.type == IMAGE]
    assert loaded["image_modes"] == ["RGB", "RGB"]
    assert loaded["pristine_of_pristine"] is None
    assert loaded["regions"] == make_forged_record(1).regions


def test_a_stranger_gets_masks_of_exactly_0_and_255(loaded):
    assert loaded["mask_values"] == [[0], [0, 255]]
    assert loaded["mask_shapes"] == [[64, 64], [64, 64]]


def test_a_stranger_gets_the_very_pixels(loaded):
    from mmtt.images import decode_rgb

    assert np.array_equal(np.array(loaded["pixels"], np.uint8), decode_rgb(make_forged_record(1).image))


def test_our_features_are_those_that_datasets_reads(loaded):
    assert json.loads(json.dumps(features().to_dict())) == loaded["features"]


@pytest.mark.parametrize("row_class", ROW_CLASSES)
def test_the_metadata_fits_the_columns(row_class):
    """`datasets` ignores its own metadata where the two disagree, and images would be plain bytes."""
    schema = arrow_schema(row_class)
    told = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert datasets.Features.from_dict(told).arrow_schema.remove_metadata() == schema.remove_metadata()
    assert datasets.Features.from_dict(told) == features(row_class)
    assert all(isinstance(f.type, pa.DataType) and f.nullable for f in arrow_schema(row_class))


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(described(), indent=1) + "\n", encoding="utf-8")
