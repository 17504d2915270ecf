"""Who is who: embeddings tie groups above a calibrated cosine, names and decisions come first, people are asked."""

import base64
import html as entities
import re
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
import yaml

from mmtt import images
from mmtt.errors import UserError
from mmtt.executors import serial
from mmtt.layout import Layout
from mmtt.progress import silent
from mmtt.recipe import IdentitySection, Recipe
from mmtt.record import Lineage
from mmtt.shards import read_table, write_table
from pipelines import neighbours
from pipelines.comparison import SHOWN, compare
from pipelines.decisions import read_decisions
from pipelines.embeddings import TooFewPairs, calibrate, faces_of, read_lineage
from pipelines.identities import tell
from pipelines.ingest import ingest
from pipelines.neighbours import near_pairs
from pipelines.plan import plan, require_fresh
from tests.factories import TODAY, drawn, source_row, tiny_dataset, write_sources

HOSTILE = "</figcaption><script>alert('x')</script>\" onerror=\"x"
NAMED, PHOTOS, SIZE = 9, 12, 64


def lineage(number, subject=None, photo=None, face_index=0):
    photo = photo or f"photo {number:05d}"
    return Lineage(
        item_digest="",
        record_id=f"r{number:05d}",
        path=f"{number}.png",
        photo_sha256=photo,
        photo_phash="0" * 16,
        face_index=face_index,
        bbox_xyxy=[],
        subject=subject,
        group_id=f"g {subject or photo}",
        consent_expiry=None,
        consent_evidence_sha256=None,
        withdrawal=None,
    )


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_units(seed, count, size=SIZE):
    return unit(np.random.default_rng(seed).standard_normal((count, size)))


def people(seed, count, photos, spread=0.8, size=SIZE):
    """Vectors of people, some photos each: random directions, and random ones of that length about them."""
    centres = np.repeat(random_units(seed, count, size), photos, axis=0)
    return unit(centres + spread * random_units(seed + 1, count * photos, size))


def faces(rows, vectors):
    return faces_of(rows, list(vectors), {row.record_id for row in rows})


def named(count, photos):
    return [lineage(number, f"p{number // photos:04d}") for number in range(count * photos)]


def none_decided(found):
    return read_decisions(Path("/nowhere/identities.csv"), [row.record_id for row in found.rows], found.person)


def cosine_pair(seed, cosine, size=SIZE):
    """Two unit vectors with just that cosine."""
    first, other = random_units(seed, 2, size).astype(np.float64)
    other = unit(other - first * (first @ other)).astype(np.float64)
    return first.astype(np.float32), (cosine * first + np.sqrt(1 - cosine**2) * other).astype(np.float32)


# Calibration


@pytest.mark.parametrize("rate", [1e-2, 1e-3])
def test_the_threshold_is_the_planted_quantile_of_strangers_and_recall_is_that_of_friends(rate):
    found = calibrate(faces(named(600, 2), people(1, 600, 2)), IdentitySection(false_alarm_rate=rate))
    # Cosines of random directions in 64 dimensions: normal, deviation 1/8.
    assert found.threshold == pytest.approx(NormalDist().inv_cdf(1 - rate) / 8, abs=0.012)
    assert (found.different, found.same, found.given) == (1200 * 1199 // 2 - 600, 600, False)
    assert 0.9 * rate < found.false_alarms <= rate
    # Two at 0.8 about one centre: 1 / 1.64 on average.
    assert found.recall > 0.99


def test_chance_ties_fresh_strangers_no_more_often_than_asked():
    rows = named(1500, 1) + [lineage(10_000 + number) for number in range(1000)]
    found = faces(rows, random_units(2, 2500))
    threshold = calibrate(found, IdentitySection(false_alarm_rate=1e-3)).threshold
    said = compare(found, threshold, 0.0, none_decided(found))
    assert said.pairs == 2500 * 2499 // 2 - 1500 * 1499 // 2
    assert 0.8e-3 < len(said.ties) / said.pairs < 1.2e-3


def test_many_photos_of_one_subject_do_not_hide_the_others():
    rows = [lineage(number, "star") for number in range(4000)]
    rows += [lineage(4000 + number, f"p{number}") for number in range(200)]
    found = calibrate(faces(rows, random_units(3, 4200, 16)), IdentitySection(false_alarm_rate=1e-2))
    assert found.different == 3000 * 2999 // 2 - 2800 * 2799 // 2


def test_faces_of_one_photo_are_known_to_differ_and_nobody_knows_whose_the_name_is():
    """In Ann's photo one face is Bob's: taken for Ann's, it would be a known-different pair of cosine 1."""
    vectors = random_units(4, 80)
    rows = [lineage(2 * n + side, "ann", f"party {n:02d}", side) for n in range(30) for side in (0, 1)]
    rows += [lineage(60 + n, "bob") for n in range(20)]
    vectors[1], vectors[60] = vectors[61], vectors[61]
    found = calibrate(faces(rows, vectors), IdentitySection(false_alarm_rate=0.1))
    assert (found.different, found.same) == (30, 20 * 19 // 2)
    assert found.threshold < 0.5


def test_too_few_known_pairs_are_counted_and_the_way_out_is_named():
    few = faces(named(50, 1), random_units(5, 50))
    with pytest.raises(TooFewPairs, match=r"Only 1,225 pairs .* 3,000 are needed.*plan\.identity\.threshold"):
        calibrate(few, IdentitySection())
    given = calibrate(few, IdentitySection(threshold=0.3))
    assert (given.threshold, given.given, given.different, given.recall) == (0.3, True, 1225, None)
    assert calibrate(few, IdentitySection(false_alarm_rate=0.01)).given is False


def test_without_a_rate_the_strictest_is_taken_that_the_known_pairs_can_tell_of():
    for subjects in (100, 600):
        found = calibrate(faces(named(subjects, 1), random_units(6, subjects)), IdentitySection())
        assert round(found.false_alarms * found.different) <= 3


# Comparison


def test_what_is_compared_does_not_depend_on_the_order_of_the_lineage():
    rows, vectors = named(40, 2) + [lineage(900 + n) for n in range(40)], people(6, 60, 2)
    order = np.random.default_rng(0).permutation(len(rows))
    said = []
    for places in (range(len(rows)), order):
        found = faces([rows[i] for i in places], vectors[list(places)])
        cal = calibrate(found, IdentitySection(false_alarm_rate=0.01))
        said.append((cal, compare(found, cal.threshold, 0.1, none_decided(found))))
    assert said[0] == said[1]
    assert said[0][1].ties and said[0][1].doubtful


def test_two_names_are_never_tied_by_a_cosine_and_people_are_asked():
    rows = [lineage(0, "ann"), lineage(1, "anne"), lineage(2), lineage(3)]
    vectors = random_units(7, 4)
    vectors[1], vectors[3] = vectors[0], vectors[2]
    found = faces(rows, vectors)
    said = compare(found, 0.9, 0.05, none_decided(found))
    assert said.ties == [("g photo 00002", "g photo 00003")]
    assert [(p.first.subject, p.second.subject, p.cosine) for p in said.contested] == [("ann", "anne", 1.0)]
    assert said.doubtful == []


def test_the_pairs_nearest_to_the_threshold_are_shown_and_all_are_counted(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_VALUES", 5000)  # many blocks
    rows = [lineage(n) for n in range(300)]
    found = faces(rows, random_units(8, 300))
    said = compare(found, 0.1, 0.05, none_decided(found))
    exact = found.vectors.astype(np.float64) @ found.vectors.T
    away = np.abs(exact - 0.1)[np.triu_indices(300, 1)]
    assert said.doubtful_count == (away <= 0.05).sum() > SHOWN == len(said.doubtful)
    assert [abs(p.cosine - 0.1) for p in said.doubtful] == pytest.approx(np.sort(away)[:SHOWN], abs=1e-6)
    assert len(said.ties) == (exact[np.triu_indices(300, 1)] > 0.1).sum()


def test_a_cosine_that_equals_the_threshold_does_not_tie():
    first, second = cosine_pair(9, 0.5)
    third, fourth = cosine_pair(10, 0.5001)
    found = faces([lineage(n) for n in range(4)], [first, second, third, fourth])
    assert compare(found, 0.5, 0.0, none_decided(found)).ties == [("g photo 00002", "g photo 00003")]


@pytest.mark.parametrize("spoilt", [np.full(SIZE, np.nan), np.zeros(SIZE), np.r_[np.inf, np.zeros(SIZE - 1)]])
def test_an_embedding_without_a_direction_counts_as_none(spoilt):
    vectors = [*random_units(11, 3), spoilt.astype(np.float32), spoilt.astype(np.float32), None]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = faces([lineage(n) for n in range(6)], vectors)
    assert (found.at.tolist(), found.unusable, len(found.rows)) == ([0, 1, 2], 2, 6)
    assert compare(found, 0.99, 0.0, none_decided(found)).ties == []


def test_embeddings_are_brought_to_unit_length():
    vectors = random_units(12, 2)
    found = faces([lineage(0), lineage(1)], [7 * vectors[0], 0.01 * vectors[1]])
    assert found.vectors == pytest.approx(vectors, abs=1e-6)


def test_embeddings_of_two_models_are_refused():
    with pytest.raises(UserError, match="embeddings of 32 and 64 numbers, from different models"):
        faces([lineage(0), lineage(1)], [random_units(0, 1, 32)[0], random_units(0, 1, 64)[0]])


# Neighbours


def gathered(blocks):
    blocks = list(blocks)
    pairs = np.stack([np.concatenate([b.first for b in blocks]), np.concatenate([b.second for b in blocks])])
    return pairs, np.concatenate([b.cosine for b in blocks])


def clustered(seed=13):
    """3,000 vectors: singles, people of three photos, and one person of 200."""
    return np.concatenate(
        [random_units(seed, 1000, 128), people(seed, 600, 3, size=128), people(seed, 1, 200, size=128)]
    )


@pytest.mark.parametrize("values", [100_000, 1 << 24, 1], ids=["many blocks", "one block", "a row a block"])
def test_neighbours_are_those_that_brute_force_finds_each_once(values, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_VALUES", values)
    vectors = clustered()[np.random.default_rng(1).permutation(3000)]
    exact = vectors.astype(np.float64) @ vectors.T
    wanted = np.triu(exact > 0.45, 1)
    assert wanted.sum() > 15_000
    (first, second), cosines = gathered(near_pairs(vectors, 0.45))
    assert (first < second).all()
    assert len(first) == wanted.sum()
    assert wanted[first, second].all()
    assert len(np.unique(first * 3000 + second)) == len(first)
    assert np.abs(cosines - exact[first, second]).max() < 1e-5


def test_no_vectors_have_no_neighbours():
    assert list(near_pairs(np.zeros((0, 8), np.float32), 0.5)) == []


# Decisions


def decide(tmp_path, text, found):
    path = tmp_path / "identities.csv"
    path.write_text(text, encoding="utf-8")
    return read_decisions(path, [row.record_id for row in found.rows], found.person)


@pytest.fixture
def few():
    rows = [lineage(0, "ann"), lineage(1, "ann"), lineage(2), lineage(3), lineage(4)]
    return faces(rows, people(14, 1, 5, 0.1))


def test_an_answer_holds_for_the_person_and_for_whoever_else_that_person_is(few, tmp_path):
    """r1 is Ann like r0; r3 is r2: so `r1 is not r3` also keeps r0 and r2 apart, and r4 stays an open question."""
    said = decide(tmp_path, "second,first,same\nr00001,r00003,no\n\nr00002,r00003,YES\n", few)
    assert [(row.first, row.second) for row in said.yes] == [(3, 2)]
    assert compare(few, 0.5, 0.0, said).ties == [
        ("g ann", "g photo 00004"),
        ("g photo 00002", "g photo 00004"),
        ("g photo 00003", "g photo 00004"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("first,second\nr00000,r00002\n", r"line 1: the columns must be first,second,same"),
        ("first,second,same,why\n", r"line 1: the columns must be"),
        ("", r"line 1: the columns must be"),
        ("first,second,same\nr00000,r00002,no\nr00000,nobody,yes\n", r"line 3: 'nobody' is no pristine record"),
        ("first,second,same\nr00000,r00002,maybe\n", r"line 2: 'same' is 'maybe'; write yes or no"),
        ("first,second,same\nr00000,r00002\n", r"line 2: a row has three values"),
        ("first,second,same\nr00000,r00002,no,no\n", r"line 2: a row has three values"),
        ("first,second,same\nr00002,r00002,yes\n", r"line 2: both are the record r00002"),
        ("first,second,same\nr00000,r00001,no\n", r"line 2: sources.csv gives both to one subject"),
        ("first,second,same\nr00000,r00002,yes\nr00002,r00001,no\n", r"line 3 says no, and other lines say yes \(2\)"),
        (
            "first,second,same\nr00002,r00004,no\nr00002,r00003,yes\nr00003,r00004,yes\n",
            r"line 2 says no, and other lines say yes \(3, 4\)",
        ),
        ('first,second,same\n"r00000,r00002,no\n', r"cannot be read as CSV"),
    ],
)
def test_a_decision_that_cannot_be_is_refused_with_its_line(few, tmp_path, text, told):
    with pytest.raises(UserError, match=told):
        decide(tmp_path, text, few)


def test_answering_twice_alike_is_no_contradiction(few, tmp_path):
    said = decide(tmp_path, "\ufefffirst,second,same\nr00002,r00003,no\nr00003,r00002,no\n", few)
    assert (said.yes, said.no) == ([], 2)


# The plan


@pytest.fixture(scope="module")
def ingested(tmp_path_factory) -> Path:
    """Twelve photos of twelve people; nine are named."""
    names = [f"person {n}" for n in range(NAMED - 1)] + [HOSTILE]
    root = tmp_path_factory.mktemp("ingested")
    section = {"splits": {"train": 0.5, "validation": 0.25, "test": 0.25}, "identity": {"false_alarm_rate": 0.1}}
    layout = tiny_dataset(root, PHOTOS, ["face_swap"], subjects=names + [""] * (PHOTOS - NAMED), plan=section)
    ingest(layout, Recipe.load(layout.recipe), serial, silent)
    return root


@pytest.fixture
def layout(ingested, tmp_path) -> Layout:
    return Layout(Path(shutil.copytree(ingested, tmp_path / "dataset")))


def embed(layout, changes=(), shuffle=None):
    """Give every face an embedding: those of strangers, but for `changes` by photo number."""
    vectors = dict(enumerate(EYE)) | dict(changes)
    rows = [
        replace(row, embedding=None if vectors[n] is None else vectors[n].tolist())
        for row in read_table(layout.lineage, Lineage)
        for n in [int(re.findall(r"\d+", row.path)[0])]
    ]
    if shuffle is not None:
        rows = [rows[i] for i in np.random.default_rng(shuffle).permutation(len(rows))]
    write_table(layout.lineage, rows, Lineage)


def run(layout):
    return plan(layout, Recipe.load(layout.recipe), TODAY)


def ids(layout):
    rows = read_table(layout.lineage, Lineage)
    return [row.record_id for row in sorted(rows, key=lambda row: row.path)]


def components(planned):
    return {row.record_id: row.component_id for row in planned.splits}


def answer(layout, first, second, same):
    (layout.root / "identities.csv").write_text(f"first,second,same\n{first},{second},{same}\n")


EYE = np.eye(PHOTOS, SIZE, dtype=np.float32)
TWINS = {10: (0.6 * EYE[3] + 0.8 * EYE[10]).astype(np.float32)}  # a photo without a name, of person 3


def test_without_embeddings_nothing_is_tied_and_the_largest_component_is_told(layout):
    planned = run(layout)
    assert planned.identity is None
    assert len(set(components(planned).values())) == PHOTOS
    assert planned.largest == (min(components(planned).values()), 1, 1, 1 / PHOTOS)
    assert [line.partition(":")[0] for line in tell(planned)] == ["Largest component"]
    assert not (layout.root / "private" / "identities.html").exists()


def test_one_person_under_two_groups_lands_in_one_split_and_gives_no_face_to_themself(layout):
    embed(layout, TWINS)
    planned, known = run(layout), ids(layout)
    twins = {known[3], known[10]}
    of = components(planned)
    assert of[known[3]] == of[known[10]]
    assert len(set(of.values())) == PHOTOS - 1
    assert len({row.split for row in planned.splits if row.record_id in twins}) == 1
    assert not any({row.target_id, row.source_id} == twins for row in planned.rows)
    summary = planned.identity
    assert (summary.faces, summary.ties, summary.calibration.different) == (PHOTOS, 1, NAMED * (NAMED - 1) // 2)
    assert planned.largest == (of[known[3]], 2, 2, 2 / PHOTOS)
    assert "calibrated on 36 known-different pairs" in tell(planned)[0]


def test_a_no_separates_and_a_yes_ties(layout):
    embed(layout, TWINS)
    known = ids(layout)
    answer(layout, known[10], known[3], "no")
    apart = components(run(layout))
    assert apart[known[3]] != apart[known[10]]
    shutil.rmtree(layout.plan)
    answer(layout, known[0], known[11], "yes")
    tied = components(run(layout))
    assert tied[known[0]] == tied[known[11]]
    assert tied[known[3]] == tied[known[10]]


def test_a_yes_ties_where_nothing_has_an_embedding(layout):
    known = ids(layout)
    answer(layout, known[1], known[2], "yes")
    planned = run(layout)
    assert components(planned)[known[1]] == components(planned)[known[2]]


@pytest.mark.parametrize("change", ["decisions", "embeddings"])
def test_a_plan_is_stale_once_it_would_say_otherwise_who_is_who(layout, change):
    embed(layout, TWINS)
    recipe = Recipe.load(layout.recipe)
    run(layout)
    require_fresh(layout, recipe)
    if change == "decisions":
        answer(layout, *ids(layout)[:2], "no")
    else:
        embed(layout)
    with pytest.raises(UserError, match="Run `mmtt plan` first"):
        require_fresh(layout, recipe)


def test_the_tables_and_the_page_follow_from_what_is_there_and_not_from_its_order(layout):
    made = []
    for shuffle in (None, None, 1):
        embed(layout, TWINS, shuffle)
        shutil.rmtree(layout.plan, ignore_errors=True)
        run(layout)
        paths = [*sorted(layout.plan.glob("*.parquet")), layout.root / "private" / "identities.html"]
        made.append([path.read_bytes() for path in paths])
    assert made[0] == made[1] == made[2]


def test_a_face_that_would_bridge_two_splits_is_refused_and_told_whom_it_matches(layout):
    embed(layout)
    first, known = run(layout), ids(layout)
    split_of = {row.record_id: row.split for row in first.splits}
    one = next(n for n in range(PHOTOS) if split_of[known[n]] == "train")
    other = next(n for n in range(PHOTOS) if split_of[known[n]] == "test")
    name = f"drawn_{PHOTOS:02d}.png"
    (layout.photos / name).write_bytes(images.encode_png(drawn(PHOTOS).image))
    tiny_dataset(layout.root, PHOTOS + 1, ["face_swap"], plan=yaml.safe_load(layout.recipe.read_text())["plan"])
    write_sources(layout.root, [source_row(f"drawn_{n:02d}.png", f"person {n}" if n < 8 else HOSTILE if n == 8 else "")
                                for n in range(PHOTOS + 1)])  # fmt: skip
    recipe = Recipe.load(layout.recipe)
    ingest(layout, recipe, serial, silent)
    embed(layout, {PHOTOS: unit(EYE[one] + EYE[other])})
    after, known = plan(layout, recipe, TODAY), ids(layout)
    (refused,) = [row for row in after.rejections if row.code == "bridges_splits"]
    assert refused.record_id == known[PHOTOS]
    assert f"({known[one]} in train, {known[other]} in test)" in refused.detail
    assert {row.record_id: row.split for row in after.splits} == split_of


def apart(planned, known):
    """Two photos, the second without a name, that lie in two splits; and their splits."""
    split_of = {row.record_id: row.split for row in planned.splits}
    one, other = next(
        (a, b) for a in range(PHOTOS) for b in range(NAMED, PHOTOS) if split_of[known[a]] != split_of[known[b]]
    )
    return one, other, split_of[known[one]], split_of[known[other]]


def test_embeddings_that_come_late_tell_of_one_person_in_two_splits(layout):
    first, known = run(layout), ids(layout)
    assert not any("Across splits" in line for line in tell(first))
    one, other, *splits = apart(first, known)
    embed(layout, {other: (0.6 * EYE[one] + 0.8 * EYE[other]).astype(np.float32)})
    after = run(layout)
    assert [row.split for row in after.splits] == [row.split for row in first.splits]
    (line,) = [line for line in tell(after) if "Across splits" in line]
    assert "1 pair of records of one person" in line
    assert all(f"{known[n]} in {split}" in line for n, split in zip((one, other), splits, strict=True))
    assert "remove plan/splits.parquet" in line
    (chapter,) = re.findall(r'<section aria-labelledby="crossing">.*?</section>', after.identity.page.read_text(), re.S)
    assert chapter.count("<article") == 1
    assert all(known[n] in chapter for n in (one, other))
    assert set(re.search(r'class="soft">(\w+) and (\w+)<', chapter).groups()) == set(splits)
    answer(layout, known[one], known[other], "no")
    assert not any("Across splits" in line for line in tell(run(layout)))
    (layout.root / "identities.csv").unlink()
    layout.splits.unlink()
    assert not any("Across splits" in line for line in tell(run(layout)))


@pytest.mark.parametrize("embedded", [True, False])
def test_a_yes_across_two_splits_is_refused_with_both_and_the_way_out(layout, embedded):
    if embedded:
        embed(layout)
    first, known = run(layout), ids(layout)
    one, other, *splits = apart(first, known)
    answer(layout, known[one], known[other], "yes")
    told = rf"identities\.csv, line 2 .* {known[one]} into {splits[0]} and {known[other]} into {splits[1]}"
    with pytest.raises(UserError, match=rf"{told}.* Remove .*splits\.parquet .* or take the row out"):
        run(layout)
    layout.splits.unlink()
    tied = components(run(layout))
    assert tied[known[one]] == tied[known[other]]


def test_few_known_pairs_stop_the_plan_only_where_somebody_is_to_be_told_apart(layout):
    data = yaml.safe_load(layout.recipe.read_text())
    data["plan"]["identity"] = {"false_alarm_rate": 0.01}
    layout.recipe.write_text(yaml.safe_dump(data))
    embed(layout, dict.fromkeys(range(NAMED, PHOTOS)))
    assert run(layout).identity is None
    embed(layout)
    with pytest.raises(UserError, match="Only 36 pairs"):
        run(layout)


def test_chance_that_would_chain_strangers_is_told_with_the_rate_that_would_not(layout):
    embed(layout)
    data = yaml.safe_load(layout.recipe.read_text())
    data["plan"]["identity"] = {"threshold": 0.2}
    layout.recipe.write_text(yaml.safe_dump(data))
    assert not any("By chance" in line for line in tell(run(layout)))
    embed(layout, enumerate(unit(EYE + 0.3)))
    (line,) = [line for line in tell(run(layout)) if "By chance" in line]
    assert "about 30 pairs of strangers" in line
    assert "plan.identity.false_alarm_rate to 2e-02 or less" in line


# The page


def test_the_page_holds_both_faces_and_their_names_as_text(layout):
    embed(layout, {10: (0.05 * EYE[8] + np.sqrt(1 - 0.05**2) * EYE[10]).astype(np.float32)})
    summary, known = run(layout).identity, ids(layout)
    page = summary.page.read_text()
    assert summary.page == layout.root / "private" / "identities.html"
    assert "<script>alert" not in page
    assert page.count(str(entities.escape(HOSTILE)).replace("&#x27;", "&#39;").replace("&quot;", "&#34;")) >= 2
    assert "Private" in page
    article = next(part for part in page.split("<article")[1:] if known[10] in part and known[8] in part)
    pictures = [base64.b64decode(uri) for uri in re.findall(r'src="data:image/jpeg;base64,([^"]+)"', article)]
    stored = {record_id: images.decode_rgb(data) for record_id, data in pixels(layout).items()}
    assert len(pictures) == 2
    for record_id, data in zip(sorted((known[8], known[10])), pictures, strict=True):
        assert np.abs(images.decode_rgb(data).astype(int) - stored[record_id]).mean() < 6
    assert f"{','.join(sorted((known[8], known[10])))}," in article
    assert "0.0500" in article


def pixels(layout):
    from mmtt.manifest import read

    return {record.record_id: record.image for record in read(layout.pristine)}


def test_the_page_says_how_many_it_leaves_out_and_goes_when_there_is_nothing_to_say(layout, monkeypatch):
    monkeypatch.setattr("pipelines.comparison.SHOWN", 4)
    embed(layout)
    summary = run(layout).identity
    open_pairs = PHOTOS * (PHOTOS - 1) // 2 - NAMED * (NAMED - 1) // 2
    assert summary.doubtful == open_pairs
    page = summary.page.read_text()
    assert page.count("<article") == 4
    assert f"4 of {open_pairs} pairs" in " ".join(page.split())
    embed(layout, dict.fromkeys(range(PHOTOS)))
    run(layout)
    assert not summary.page.exists()


def test_a_pair_that_was_decided_is_not_shown_again(layout):
    embed(layout)
    known = ids(layout)
    answer(layout, known[0], known[10], "no")
    summary = run(layout).identity
    assert (summary.doubtful, summary.said_different) == (29, 1)
    articles = summary.page.read_text().split("<article")[1:]
    assert not any(known[0] in part and known[10] in part for part in articles)


# Reading


def test_a_lineage_without_the_column_has_no_embeddings_and_a_torn_one_is_named(layout):
    import pyarrow.parquet as pq

    whole = pq.read_table(layout.lineage)
    pq.write_table(whole.drop_columns(["embedding"]), layout.lineage)
    rows, embeddings = read_lineage(layout.lineage)
    assert rows == read_table(layout.lineage, Lineage)
    assert embeddings == [None] * PHOTOS
    pq.write_table(whole.drop_columns(["photo_sha256"]), layout.lineage)
    with pytest.raises(UserError, match="photo_sha256"):
        read_lineage(layout.lineage)
    layout.lineage.write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        read_lineage(layout.lineage)


def test_embeddings_are_read_as_they_were_written(layout):
    embed(layout, {2: None} | TWINS)
    rows, embeddings = read_lineage(layout.lineage)
    for row, found, stored in zip(rows, embeddings, read_table(layout.lineage, Lineage), strict=True):
        assert row == replace(stored, embedding=None)
        assert (found is None and stored.embedding is None) or found.tolist() == stored.embedding
