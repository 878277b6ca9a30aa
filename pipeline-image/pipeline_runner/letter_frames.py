"""The fixed sentences of a letter, by language and tone; they claim nothing about the candidate."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The fixed sentences of a letter; ``{role}``, ``{company}`` and ``{url}`` are filled in from the posting."""

    subject: str
    untitled: str
    salutation: str
    at_company: str
    opening: str
    role: str
    untitled_role: str
    found_at: str
    summary: str
    quotes: str
    enclosure: str
    thanks: str
    farewell: str


_ENGLISH = {
    "subject": "Application: {role}",
    "untitled": "your advertised position",
    "salutation": "Dear hiring team{company},",
    "at_company": " at {company}",
    "opening": "I am applying for {role}{company}.",
    "role": "the position of {role}",
    "untitled_role": "the position that you have advertised",
    "found_at": " I found it at {url}.",
    "summary": "In one sentence: {summary}",
    "quotes": "From my work so far, in the words of my CV:",
    "enclosure": "My CV, enclosed, gives the whole picture. I would be glad to tell you more in a conversation.",
    "thanks": "Thank you for your time.",
    "farewell": "Kind regards",
}
_GERMAN = {
    "subject": "Bewerbung: {role}",
    "untitled": "Ihre ausgeschriebene Stelle",
    "salutation": "Guten Tag,",
    "at_company": " bei {company}",
    "opening": "hiermit bewerbe ich mich{company} auf {role}.",
    "role": "die Stelle „{role}“",
    "untitled_role": "die ausgeschriebene Stelle",
    "found_at": " Gefunden habe ich sie unter {url}.",
    "summary": "In einem Satz: {summary}",
    "quotes": "Aus meiner bisherigen Arbeit, in den Worten meines Lebenslaufs:",
    "enclosure": "Mein Lebenslauf liegt bei. Gerne erzähle ich Ihnen in einem Gespräch mehr.",
    "thanks": "Vielen Dank für Ihre Zeit.",
    "farewell": "Freundliche Grüße",
}
_TONES = {
    ("English", "plain"): _ENGLISH,
    ("English", "warm"): _ENGLISH
    | {
        "salutation": "Hello everybody{company},",
        "opening": "I would love to join you, and so I am applying for {role}{company}.",
        "thanks": "Thank you for reading this far.",
        "farewell": "Warm regards",
    },
    ("English", "formal"): _ENGLISH
    | {
        "salutation": "Dear Sir or Madam,",
        "opening": "I hereby apply for {role}{company}.",
        "summary": "In brief: {summary}",
        "enclosure": "Please find my CV enclosed. I should be pleased to give further details in an interview.",
        "thanks": "Thank you for considering my application.",
        "farewell": "Yours faithfully",
    },
    ("German", "plain"): _GERMAN,
    ("German", "warm"): _GERMAN
    | {
        "salutation": "Hallo zusammen,",
        "opening": "gerne möchte ich bei Ihnen mitarbeiten und bewerbe mich{company} auf {role}.",
        "farewell": "Herzliche Grüße",
    },
    ("German", "formal"): _GERMAN
    | {
        "salutation": "Sehr geehrte Damen und Herren,",
        "summary": "Kurz gefasst: {summary}",
        "farewell": "Mit freundlichen Grüßen",
    },
}


def frame(language: str, tone: str) -> Frame:
    """Return the frame; other languages get the English one."""
    return Frame(**_TONES.get((language, tone), _TONES["English", tone]))
