"""Tells which language a text is in, by the model that comes with py3langid."""

from functools import cache
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from infra.contracts.rules import Language


@cache
def _identifier() -> Any:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def check(rule: Language) -> None:
    """Raise `ValueError` for a language that the model does not know; loads the model."""
    if unknown := sorted(set(rule.allowed) - set(_identifier().labels)):
        raise ValueError(f"rule {rule.id}: there is no model of the language {', '.join(unknown)}")


def is_foreign(rule: Language, text: str) -> bool:
    """Whether the text is in none of the allowed languages, so surely as the rule demands."""
    if len(text) < rule.min_letters or sum(map(str.isalpha, text)) < rule.min_letters:
        return False
    ranked: list[tuple[str, float]] = _identifier().rank(text)
    return sum(share for language, share in ranked if language in rule.allowed) < 1 - rule.confidence
