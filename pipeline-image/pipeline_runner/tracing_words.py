"""Word lists for tracing, in English and German."""

from __future__ import annotations

_SMALL = """
    a an the i my me we our this that these those it its which who where and or as also at by for from in into of on
    to with through via is are am was were been being be have has had using use used

    ein eine einen einem einer eines der die das den dem des ich mein meine meinen meinem meiner wir unser unsere
    dies diese dieser dieses es und oder als auch am an auf aus bei beim durch für im in ins mit von vom zu zum zur
    über bin ist sind war waren habe hat hatte wurde wurden
"""
_KEPT = """
    no not none never nobody nothing nor without neither
    about almost around nearly partly roughly some half help helped assisted contributed participated supported

    kein keine keinen keinem keiner nicht nie nichts ohne
    beinahe circa etwa fast rund teilweise ungefähr mitgewirkt beteiligt unterstützt unterstützte
"""
_COUNTS = """
    one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred thousand million
    dozen once twice

    eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf hundert tausend
"""

#: Articles, pronouns, prepositions, forms of "be" and "have": they claim nothing.
SMALL_WORDS = frozenset(_SMALL.split())

#: Negations and qualifications: a sentence must keep those of its fact.
KEPT_WORDS = frozenset(_KEPT.split())

#: Numbers in words.
COUNT_WORDS = frozenset(_COUNTS.split())
