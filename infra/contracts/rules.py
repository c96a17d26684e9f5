"""Moderation rules as data: what a rule can say, the file people write, and the set that the `control` topic carries.

The order of a set matters. What an allow rule covers, no rule below it sees; all others that find something speak, and
the strongest action is done: block before hold before mask, then the graver severity, then the higher place.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from infra.contracts.records import Severity

#: The tenant whose set holds for every tenant that has none of its own.
EVERYONE: Final = "*"
#: A set takes effect so long after Kafka stored it: time for every router to have read it.
LEAD_MS: Final = 1_000
#: Rules with state look back no further than this.
MAX_SECONDS: Final = 600
MAX_RULES: Final = 200
MAX_TERMS: Final = 20_000

Name = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,63}$")]
Version = Annotated[int, Meta(ge=1)]
Term = Annotated[str, Meta(min_length=2, max_length=100)]
Reason = Annotated[str, Meta(min_length=1, max_length=200)]
Replacement = Annotated[str, Meta(max_length=40)]
Expression = Annotated[str, Meta(min_length=1, max_length=1_000)]
Domain = Annotated[str, Meta(pattern=r"^([^\s./:@]{1,63}\.)+[^\s./:@]{2,63}$", max_length=253)]
#: An id, or the beginning of ids followed by `*`.
Ids = tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...]
Seconds = Annotated[int, Meta(ge=1, le=MAX_SECONDS)]
By = Literal["user", "channel"]
Touching = Literal["mask", "hold", "block"]
Stopping = Literal["hold", "block"]


class Scope(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which messages a rule looks at: all, unless it says otherwise. Ids may end in `*`.

    `bots`: `only` those marked as a bot's, or `never` those.
    """

    channels: Ids = ()
    except_channels: Ids = ()
    users: Ids = ()
    except_users: Ids = ()
    bots: Literal["only", "never"] | None = None


class _Named(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"
):
    """What every rule has. `version` grows with any change to the rule: a verdict names both."""

    id: Name
    version: Version
    scope: Scope = Scope()


class _Judging(_Named, frozen=True, kw_only=True):
    """A rule with a verdict. In `shadow` it is noted and not done."""

    severity: Severity = Severity.MEDIUM
    shadow: bool = False


class BlockList(_Judging, frozen=True, kw_only=True, tag="block_list"):
    """Terms and what to do about a message with one of them. What lies within an `allow` phrase does not count.

    Terms are compared as folded text, as whole words unless `whole_word` is false, and found in disguise as well
    (look-alike letters, digits among letters, letters repeated or set apart) unless `disguised` is false.
    `replacement` is used by `mask`.
    """

    action: Touching
    reason: Reason
    terms: Annotated[tuple[Term, ...], Meta(min_length=1)]
    allow: tuple[Term, ...] = ()
    whole_word: bool = True
    disguised: bool = True
    replacement: Replacement = "***"


class AllowList(_Named, frozen=True, kw_only=True, tag="allow_list"):
    """Phrases that no rule below this one touches. Without terms: messages that no rule below this one looks at."""

    terms: tuple[Term, ...] = ()
    reason: Annotated[str, Meta(max_length=200)] = ""

    def __post_init__(self) -> None:
        if not self.terms and self.scope == Scope():
            raise ValueError("an allow list without terms needs a scope: it would switch off every rule below it")


class Pattern(_Judging, frozen=True, kw_only=True, tag="pattern"):
    """Expressions in RE2's syntax (github.com/google/re2/wiki/Syntax), matched against folded, lower-case text.

    With action `allow`, what they match no rule below this one touches.
    """

    action: Literal["allow", "mask", "hold", "block"]
    reason: Reason
    patterns: Annotated[tuple[Expression, ...], Meta(min_length=1, max_length=100)]
    replacement: Replacement = "***"

    def __post_init__(self) -> None:
        if self.action == "allow" and self.shadow:
            raise ValueError("shadow needs an action with a verdict: what allow lets pass is noted nowhere")


class Personal(_Judging, frozen=True, kw_only=True, tag="personal"):
    """A kind of personal data. `region`: where phone numbers without + are dialled from."""

    finds: Literal["email", "phone", "card"]
    replacement: Annotated[str, Meta(min_length=1, max_length=40)]
    action: Touching = "mask"
    region: Annotated[str, Meta(pattern="^[A-Z]{2}$")] | None = None


class Links(_Judging, frozen=True, kw_only=True, tag="links"):
    """Links that are not wanted. A domain stands for itself and everything below it.

    `blocked`: these. `allowed`: any but these. `shorteners`: those of well-known link shorteners. `max_links`: those
    beyond so many in one message.
    """

    action: Touching
    reason: Reason
    blocked: tuple[Domain, ...] = ()
    allowed: tuple[Domain, ...] = ()
    shorteners: bool = False
    max_links: Annotated[int, Meta(ge=0, le=100)] | None = None
    replacement: Replacement = "[link]"

    def __post_init__(self) -> None:
        if not (self.blocked or self.allowed or self.shorteners or self.max_links is not None):
            raise ValueError("links needs one of blocked, allowed, shorteners and max_links")


class Repetition(_Judging, frozen=True, kw_only=True, tag="repetition"):
    """The same text, case and punctuation aside, for the `times`th time in a channel within `seconds`.

    `by`: from one user, or from anybody in the channel. Texts shorter than `min_length` characters do not count.
    """

    action: Stopping
    reason: Reason
    times: Annotated[int, Meta(ge=2, le=1_000)]
    seconds: Seconds
    by: By = "user"
    min_length: Annotated[int, Meta(ge=1, le=8_192)] = 1


class Flood(_Judging, frozen=True, kw_only=True, tag="flood"):
    """More than `messages` within `seconds`, by one user in a channel or by everybody in it."""

    action: Stopping
    reason: Reason
    messages: Annotated[int, Meta(ge=1, le=1_000)]
    seconds: Seconds
    by: By = "user"


class Language(_Judging, frozen=True, kw_only=True, tag="language"):
    """A text that is almost certainly in none of the `allowed` languages (ISO 639-1).

    Texts with fewer than `min_letters` letters say too little to tell.
    """

    action: Stopping
    reason: Reason
    allowed: Annotated[tuple[Annotated[str, Meta(pattern="^[a-z]{2,3}$")], ...], Meta(min_length=1)]
    min_letters: Annotated[int, Meta(ge=1, le=8_192)] = 24
    confidence: Annotated[float, Meta(gt=0, lt=1)] = 0.9


Rule = BlockList | AllowList | Pattern | Personal | Links | Repetition | Flood | Language


class Rules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of rules. `tenant` and `version`, if given, name the set it was made from; `since` is not read."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=MAX_RULES)]
    version: Annotated[int, Meta(ge=0)] | None = None
    tenant: str | None = None
    since: datetime | None = None

    def __post_init__(self) -> None:
        ids = [rule.id for rule in self.rules]
        if twice := next((name for name in ids if ids.count(name) > 1), None):
            raise ValueError(f"two rules have the same id {twice}")
        terms = sum(len(rule.terms) for rule in self.rules if isinstance(rule, BlockList | AllowList))
        if terms > MAX_TERMS:
            raise ValueError(f"there are {terms} terms, more than {MAX_TERMS}")


class RuleSet(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    tag="rules",
    tag_field="kind",
):
    """One version of one tenant's rules. It is in force for input records appended `lead_ms` or later after it was.

    Both times are the broker's, so what judges a record can be told from the log alone. A tenant's set takes the place
    of everyone's; one whose `rules` are null gives way to that again.
    """

    tenant: str
    version: Version
    rules: tuple[Rule, ...] | None
    lead_ms: Annotated[int, Meta(ge=0, le=60_000)] = LEAD_MS
    note: Annotated[str, Meta(max_length=200)] = ""

    @property
    def record_key(self) -> bytes:
        """Unique even where two people publish the same version at the same moment, so that neither is compacted."""
        return f"rules/{self.tenant}/{self.version}/{self.digest}".encode()

    @property
    def digest(self) -> str:
        """Tells two contents apart."""
        return hashlib.sha256(msgspec.json.encode((self.rules, self.note))).hexdigest()[:12]
