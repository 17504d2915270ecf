"""Settings: closed models of plain data that a user wrote, and a sentence for everything that is wrong with it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmtt.errors import RecipeError, did_you_mean

M = TypeVar("M", bound=BaseModel)
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Settings that belong together: frozen, and closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def parse(model: type[M], data: Any, where: str) -> M:
    """Validate plain data as a model.

    Raises:
        RecipeError: every fault, each naming its key and, for a wrong key, the nearest right one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        told = error.errors()
        faults = [_sentence(fault, model) for fault in told if not _follows_from_another(fault, told)]
        raise RecipeError("\n".join(f"{where}: {fault}" for fault in faults)) from None


def _follows_from_another(fault: Any, told: Sequence[Any]) -> bool:
    """A list whose items are at fault is also called too short: the bad ones are not counted."""
    place = fault["loc"]
    return fault["type"] == "too_short" and any(f["loc"][: len(place)] == place and f is not fault for f in told)


def _sentence(fault: Any, model: type[BaseModel]) -> str:
    location = [part for part in fault["loc"] if part != "[key]"]
    key = ".".join(str(part) for part in location) or "the whole"
    if fault["type"] == "extra_forbidden":
        return f"'{key}' is not a key here.{did_you_mean(str(location[-1]), _fields_at(model, location[:-1]))}"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "literal_error":
        expected = [word.strip("'") for word in re.split(r", | or ", fault["ctx"]["expected"])]
        words = fault["input"] if isinstance(fault["input"], str) else ""  # a number is near to no other
        return f"'{key}' is {fault['input']!r}.{did_you_mean(words, expected)}"
    if fault["type"] == "missing":
        return f"'{key}' is missing."
    if fault["type"] == "value_error" and not location:
        return f"{message}."  # the whole says more than its first sixty letters would
    end = "" if message.endswith((".", "?")) else "."
    return f"'{key}' is {_short(fault['input'])}: {message[:1].lower()}{message[1:]}{end}"


def _short(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _fields_at(model: type[BaseModel], location: list[Any]) -> list[str]:
    """Names of the keys that are allowed at a place inside a model."""
    for part in location:
        if isinstance(part, int):
            continue
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        candidates = [inner, *getattr(inner, "__args__", ())]
        model = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), model)
    return list(model.model_fields)
