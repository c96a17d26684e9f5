"""What people say: short lines in several scripts, and now and then something that a rule should catch."""

from random import Random
from typing import Final

_OPENERS: Final = (
    "hey", "ok so", "quick question:", "lol", "wait,", "hmm", "anyone else?", "good morning", "btw", "update:",
    "sí,", "claro", "genau", "also", "d'accord,", "bon",
    "はい、", "そうだね", "привет,", "ну да", "مرحبا", "नमस्ते", "안녕,", "你好，",
)  # fmt: skip
_LINES: Final = (
    "the build is green again", "who has the link to the notes", "that patch fixed it for me", "I'll be there at eight",
    "did you see the match yesterday?", "can somebody review this before lunch", "works on my machine ¯\\_(ツ)_/¯",
    "we should move this to a thread", "the café on the corner is open again", "no idea, ask the bot", "shipping it 🚀",
    "¿quedamos mañana a las cinco?", "eso no funciona en mi portátil", "ich schaue mir das später an",
    "das können wir so lassen, oder?", "je l'ai déjà envoyé hier soir", "ça marche très bien chez moi",
    "明日の会議は何時ですか", "それ、すごくいいと思う", "давайте завтра обсудим", "у меня всё работает",
    "شكرا جزيلا على المساعدة", "कल मिलते हैं", "점심 뭐 먹을까요", "我觉得可以，先试一下", "naïve façade, Zoë 👩‍👩‍👧‍👦",
)  # fmt: skip
_CLOSERS: Final = ("", "", "", "", "!", "?", " :)", " 🎉", " 👍🏽", " thanks", " danke", " ありがとう", " 😂😂", "…")
_BOT_LINES: Final = (
    "Build #{n} passed in {n} s", "Reminder: stand-up in 10 minutes", "{n} new issues since yesterday",
    "Deploy {n} finished", "Queue length is {n}",
)  # fmt: skip
_CAUGHT: Final = (
    "oh just go die in a fire", "free nitro for everyone, click here", "double your bitcoin today, guaranteed returns",
    "what a load of bullshit", "F U C K this, I mean fuck it",
)  # fmt: skip
REACTIONS: Final = ("👍", "❤️", "😂", "🎉", "😮", "🙏", "👀", "🚀", "thumbs_up", "+1")


def line(rng: Random) -> str:
    """Something a person says."""
    said = f"{rng.choice(_OPENERS)} {rng.choice(_LINES)}{rng.choice(_CLOSERS)}"
    return said if rng.random() < 0.8 else f"{said} {rng.choice(_LINES)}"


def bot_line(rng: Random) -> str:
    """Something a bot says."""
    return rng.choice(_BOT_LINES).format(n=rng.randint(1, 9_999))


def caught_line(rng: Random) -> str:
    """Something with a listed term, an address, a phone number or a card number in it."""
    kind = rng.randrange(4)
    if kind == 0:
        return rng.choice(_CAUGHT)
    if kind == 1:
        return f"write to me: {rng.choice(('ana', 'bo', 'chen'))}.{rng.randint(10, 99)}@example.com"
    if kind == 2:
        return f"call me on +1 212 555 {rng.randint(100, 199):04d} after six"
    return f"my card is {card_number(rng)}, don't tell anyone"


def card_number(rng: Random) -> str:
    """Sixteen digits whose last makes them pass the Luhn check (ISO/IEC 7812-1, annex B)."""
    digits = [4, *(rng.randrange(10) for _ in range(14))]
    total = sum(sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits))
    text = "".join(map(str, [*digits, -total % 10]))
    return " ".join(text[at : at + 4] for at in range(0, 16, 4))
