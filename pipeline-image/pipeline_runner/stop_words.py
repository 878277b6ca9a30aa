"""Stop words: words that carry no meaning for matching."""

from __future__ import annotations

_ENGLISH = """
    a about across after all also an and any are as at be been before between both but by can could do does each for
    from had has have he her his how if in into is it its more most must no not of off on one only or other our out over
    own per she should so some such than that the their them then there these they this those through to too under until
    up us very was we were what when where which while who whom why will with within without would you your
"""

_GERMAN = """
    ab aber alle als am an auch auf aus bei beim bis da damit das dass dein deine deinem deinen deiner dem den der des
    dich die dies diese diesem diesen dieser dir du durch ein eine einem einen einer eines er es euch für gegen hat ihr
    ihre ihren im in ist kann mit nach nicht noch nur oder ohne sehr sein seine sich sie sind sowie um und uns unser
    unsere unserem unseren unserer unter vom von vor war was wenn werden wie wir wird zu zum zur zwischen über
"""

_POSTINGS = """
    ability able advantage applicant applicants apply background bonus bring brings candidate candidates comfortable
    company excellent experience experienced familiar familiarity fluent good great hands help ideal ideally including
    job join knowledge least like looking love need needed offer opportunity people plus position preferred professional
    proficiency proficient proven required requirement requirements responsibilities role several skill skills solid
    someone spoken strong successful team teams time understanding use used using want well work worked working written
    year years day days week weeks month months two three four five six seven eight nine ten
    abgeschlossene abgeschlossenes anforderungen aufgaben bewerbung bieten bringst erfahrung erfahrungen erste
    fließend fließende fundierte gerne gute guten gutes idealerweise jahr jahre jahren kenntnisse kenntnissen mehrere
    mehrjährige mindestens schrift sichere sicherer stelle suchen team umgang unternehmen verfügst verhandlungssicher
    verhandlungssichere verhandlungssicheres vorteil wort tag tage tagen woche wochen zwei drei vier fünf sechs
"""

_HUMAN_LANGUAGES = """
    danish dutch english finnish french german italian norwegian polish spanish swedish
    dänisch deutsch englisch finnisch französisch italienisch niederländisch norwegisch polnisch schwedisch spanisch
"""

#: The stop words of each language, which also identify the language.
STOP_WORDS = {"English": frozenset(_ENGLISH.split()), "German": frozenset(_GERMAN.split())}

#: Stop words and words that every posting uses, which would match any CV.
EMPTY_WORDS = frozenset(word.casefold() for word in _POSTINGS.split()).union(*STOP_WORDS.values())

#: Names of languages matter as requirements, but do not make an achievement more relevant.
HUMAN_LANGUAGES = frozenset(_HUMAN_LANGUAGES.split())
