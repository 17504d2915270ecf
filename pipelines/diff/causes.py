"""Causes: why a row is in one build only, or holds something else; and what differs above the rows."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import pandas as pd

from mmtt.errors import RecipeError
from mmtt.files import file_sha256
from mmtt.recipe import Recipe
from mmtt.record import MASTER
from mmtt.release import Release, is_release

from ..builds import Build

_DECIDED = ("source_id", "manipulator_version", "parameters", "seed")
PROGRAM = ("manipulator_version", "code_sha256", "weights_sha256")
_BY_FOLDER = ("environment", "schema", "refused")  # what a dataset tells of each of its folders, a release of itself


class Absences:
    """Says why rows of one build are not in another, which is called by a letter."""

    def __init__(self, here: Build, there: Build, letter: str) -> None:
        self._here, self._there, self._letter = here, there, letter

    def why(self, row: Mapping[str, Any], ids: set[str], variants: set[str]) -> str:
        """Return why the other build, which has these ids and variants, lacks a row, as a clause."""
        if row["variant"] != MASTER:
            return f"{self._letter} {self._variant(row, ids, variants)}"
        return f"{self._letter} {self._forged(row, ids) if row['manipulation'] else self._pristine(row)}"

    def _variant(self, row: Mapping[str, Any], ids: set[str], variants: set[str]) -> str:
        if row["variant"] not in variants:
            return f"makes no variant '{row['variant']}'"
        return self._refusal(row["record_id"], "degrade") or (
            "has its master, but not this variant" if row["record_id"] in ids else "lacks its master"
        )

    def _pristine(self, row: Mapping[str, Any]) -> str:
        photo = self._photos[0].get(row["record_id"])
        if photo is None or not self._there.lineage:
            return "lacks it, or made it otherwise"
        if refused := self._refused_paths.get(photo.path):
            return f"refused the photo ({refused})"
        others = self._photos[1].get(photo.path, set())
        if not others:
            return "lacks the photo"
        return "cut or read the photo otherwise" if photo.photo_sha256 in others else "has other bytes of the photo"

    def _forged(self, row: Mapping[str, Any], ids: set[str]) -> str:
        planned = self._plans[0].get(row["record_id"])
        if planned is None:
            return self._refusal(row["record_id"], "") or "lacks it"
        if row["target_id"] not in ids:
            return "lacks its target"
        if planned.entry not in self._plans[2]:
            return f"plans nothing of the entry '{planned.entry}'"
        other = self._plans[1].get(_asked(planned))
        if other is None:
            code = self._unplanned.get((planned.entry, planned.target_id))
            return f"does not plan it ({code})" if code else "does not plan it"
        if other.record_id != planned.record_id:
            named = [name for name in _DECIDED if getattr(other, name) != getattr(planned, name)]
            return f"plans it otherwise ({', '.join(named) or 'another program or weights'})"
        return self._refusal(row["record_id"], "") or "plans it, but has not forged it"

    def _refusal(self, record_id: str, stage: str) -> str | None:
        code = self._refused_ids.get((record_id, stage)) or (self._refused_ids.get((record_id, "forge")))
        return f"refused it ({code})" if code else None

    @cached_property
    def _photos(self) -> tuple[dict[str, Any], dict[str, set[str]]]:
        """Lineage here by record; digests there by path."""
        there: dict[str, set[str]] = defaultdict(set)
        for row in self._there.lineage:
            there[row.path].add(row.photo_sha256)
        return {row.record_id: row for row in self._here.lineage}, there

    @cached_property
    def _plans(self) -> tuple[dict[str, Any], dict[Any, Any], set[str]]:
        """The plan here by record; there by what it was asked; and the entries there."""
        there = self._there.plan
        here = {row.record_id: row for row in self._here.plan}
        return here, {_asked(row): row for row in there}, {row.entry for row in there}

    @cached_property
    def _refused_paths(self) -> dict[str, str]:
        return {row.path: row.code for row in self._there.rejections if row.path}

    @cached_property
    def _refused_ids(self) -> dict[tuple[str, str], str]:
        return {(row.record_id, row.stage): row.code for row in self._there.rejections if row.record_id}

    @cached_property
    def _unplanned(self) -> dict[tuple[str | None, str | None], str]:
        """Why the plan there leaves out an entry on a target."""
        return {(row.manipulator, row.record_id): row.code for row in self._there.rejections if row.stage == "plan"}


def _asked(row: Any) -> tuple[str, str, int]:
    return row.entry, row.target_id, row.index


def why_changed(row: Mapping[str, Any], names: Sequence[str], altered: set[str], section_of: Mapping[str, str]) -> str:
    """Return why a row changed, as far as rows tell: by the columns that differ, and the masters with other images."""
    if row["variant"] != MASTER and row["record_id"] in altered:
        return "its master's image is another one"
    for name, what in (("target_id_b", "target"), ("source_id_b", "donor")):
        if row[name] in altered:
            return f"its {what}'s image is another one"
    if program := [name for name in PROGRAM if name in names]:
        return f"another program ({', '.join(program)})"
    if decided := [name for name in ("mask_tau", "degradations", "parameters") if name in names]:
        return f"other settings ({', '.join(decided)})"
    if "pixels" in {section_of[name] for name in names}:
        return "no column says why: see recipe and environment"
    return "other columns, the same pixels"


def causes(builds: tuple[Build, Build], rows: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, Any]:
    """Return what differs above the rows, as plain JSON: recipe, programs, environment, schema, photos, plan, refused.

    Values are (before, after); None where a side has none. What does not differ is left out, and so is what a dataset
    and a release tell of in different ways; of a recipe beside a release only the digest is compared.

    Args:
        builds: before and after.
        rows: of each the rows, with manipulation, manipulator, `PROGRAM`, origin, origin_id.
    """
    found = {
        "recipe": _pairs(*_recipes(builds)),
        "programs": _pairs(*(_programs(table) for table in rows)),
        "environment": _pairs(*(dict(_environment(build)) for build in builds)),
        "schema": _pairs(*({n: m.schema_version for n, m in build.manifests.items()} for build in builds)),
        "photos": _photos(builds, rows),
        "plan": _plan(*builds),
        "refused": _pairs(*(_refused(build) for build in builds)),
    }
    alike = builds[0].released == builds[1].released
    return {name: value for name, value in found.items() if value and (alike or name not in _BY_FOLDER)}


def _pairs(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*before, *(name for name in after if name not in before)]
    return {n: (before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)}


def _recipes(builds: tuple[Build, Build]) -> list[dict[str, Any]]:
    """The recipes' keys; their digests where one is a release; nothing where one is a bare folder of shards."""
    if any(is_release(build.root) for build in builds):
        told = [_recipe_sha256(build) for build in builds]
        return [{"sha256": one} for one in told] if all(told) else [{}, {}]
    return [{} if any(build.released for build in builds) else _recipe(build) for build in builds]


def _recipe_sha256(build: Build) -> str | None:
    if is_release(build.root):
        return Release.load(build.root).recipe_sha256
    return file_sha256(build.layout.recipe) if build.layout.recipe.is_file() else None


def _recipe(build: Build) -> dict[str, Any]:
    path = build.layout.recipe
    if not path.is_file():
        return {}
    try:
        return dict(_flat(Recipe.load(path).model_dump(mode="json"), ""))
    except RecipeError as error:
        return {"cannot be read": str(error)}


def _flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Yield each leaf of a recipe with its dotted key; what has a name is found by it, not by its place."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _flat(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and _label(item) for item in value):
        for item in value:
            yield from _flat(item, f"{key}[{_label(item)}]")
    else:
        yield key, value


def _label(item: Mapping[str, Any]) -> str:
    return str(item.get("name") or item.get("use") or "")


def _programs(rows: pd.DataFrame) -> dict[str, str]:
    forged = rows[rows["manipulation"].notna()]
    told: dict[str, set[str]] = defaultdict(set)
    for row in forged[["manipulator", *PROGRAM]].drop_duplicates().itertuples(index=False):
        for name in PROGRAM:
            if isinstance(value := getattr(row, name), str):  # else there is none
                told[f"{row.manipulator} {name}"].add(value)
    return {name: " | ".join(sorted(values)) for name, values in sorted(told.items())}


def _environment(build: Build) -> Iterator[tuple[str, str]]:
    for folder, manifest in build.manifests.items():
        yield from ((f"{folder} {name}", value) for name, value in manifest.environment.items())


def _refused(build: Build) -> dict[str, int]:
    counted: dict[str, int] = defaultdict(int)
    for row in build.rejections:
        counted[f"{row.stage}/{row.code}"] += 1
    return dict(sorted(counted.items()))


def _photos(builds: Sequence[Build], rows: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    """Photos by path where the private lineage is there, else by origin and its id."""
    if all(build.lineage for build in builds):
        one, other = ({row.path: row.photo_sha256 for row in build.lineage} for build in builds)
    else:
        one, other = (dict.fromkeys(table["origin"] + ": " + table["origin_id"], "") for table in rows)
    found = {
        "added": sorted(other.keys() - one.keys()),
        "removed": sorted(one.keys() - other.keys()),
        "changed": sorted(name for name in one.keys() & other.keys() if one[name] != other[name]),
    }
    return {name: paths for name, paths in found.items() if paths}


def _plan(before: Build, after: Build) -> dict[str, int]:
    one, other = ({row.record_id for row in build.plan} for build in (before, after))
    counts = {"added": len(other - one), "removed": len(one - other)}
    return {name: count for name, count in counts.items() if count} if one and other else {}
