"""Moderation rules as named, versioned data, checked when they are loaded."""

from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Term = Annotated[str, Meta(min_length=2, max_length=100)]


class BlockList(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="block_list", tag_field="kind"
):
    """Terms and what to do about a message with one of them. What lies within an `allow` phrase does not count.

    Terms are compared as folded text, as whole words unless `whole_word` is false. `replacement` is used by `mask`.
    """

    id: Name
    version: Annotated[int, Meta(ge=1)]
    action: Literal["mask", "hold", "block"]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    terms: Annotated[tuple[Term, ...], Meta(min_length=1)]
    allow: tuple[Term, ...] = ()
    whole_word: bool = True
    replacement: Annotated[str, Meta(max_length=40)] = "***"


class Personal(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="personal", tag_field="kind"):
    """A kind of personal data, masked wherever it stands. `region`: where phone numbers without + are dialled from."""

    id: Name
    version: Annotated[int, Meta(ge=1)]
    finds: Literal["email", "phone", "card"]
    replacement: Annotated[str, Meta(min_length=1, max_length=40)]
    region: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None


Rule = BlockList | Personal


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A set of rules. `version` grows with any change, so a verdict can be traced to the text it was made by."""

    version: Annotated[int, Meta(ge=1)]
    rules: tuple[Rule, ...]

    def __post_init__(self) -> None:
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise ValueError("two rules have the same id")


#: No rules at all.
NO_RULES = Rules(version=1, rules=())


def load_rules(file: Path | None = None) -> Rules:
    """The rules in this file, or the built-in ones. Raises `msgspec.ValidationError` for what is not a rule."""
    source = resources.files("streams.router") / "rules" / "default.json" if file is None else file
    return msgspec.json.decode(source.read_bytes(), type=Rules)
