"""``dossier.txt``: what the candidate should know before applying."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence

from pipeline_runner.company_research import Research
from pipeline_runner.fit import Comparison, Verdict, score_of
from pipeline_runner.markup import plain
from pipeline_runner.page_reading import Page
from pipeline_runner.postings import Posting
from pipeline_runner.text import language, one_line, sentences

LINE_WIDTH = 90  # characters
SUMMARY_SENTENCES = 4
MAX_QUESTIONS = 8
MAX_GAP_QUESTIONS = 4
MAX_EXCERPT_LENGTH = 600  # characters
_NOT_STATED = "not stated"
_OPEN_POINTS = (
    (r"salary|compensation|gehalt|vergütung|€|\beur\b|\$|£", "What salary range is planned for this position?"),
    (r"remote|hybrid|on-?site|home ?office|vor ort|mobil", "Where is the work done, and how much of it can be remote?"),
    (r"\bteams?\b", "Who would be the closest colleagues, and how is the team organised?"),
    (r"start date|starting|as of|ab sofort|eintritt|immediately", "When should the work begin?"),
    (r"permanent|fixed[- ]term|befristet|festanstellung|contract", "Is the contract permanent or fixed-term?"),
)


def write_dossier(
    posting: Posting,
    comparisons: Sequence[Comparison],
    cv_text: str,
    cv_source: str,
    *,
    page: Page,
    research: Research,
    notes: Sequence[str] = (),
    judged_by: str = "",
) -> str:
    """Return the dossier as text: posting, company, requirements, fit, gaps, questions, sources.

    `cv_text` is the CV's text, to detect its language; `cv_source` is the name of its file. `page` and `research` are
    the other sources, `notes` remarks on the run. `judged_by` names the model that compared the requirements; if it is
    empty, words were compared.
    """
    heading = f"Dossier: {posting.title or 'untitled position'}, {posting.company or 'unknown company'}"
    parts = [
        (heading, _summary(posting)),
        ("Company", _company(posting, research)),
        ("Requirements and evidence", _requirements(comparisons)),
        ("Fit", _fit(comparisons, posting, cv_text, judged_by)),
        ("Gaps", _gaps(comparisons)),
        ("Questions to ask", _questions(posting, comparisons)),
        ("Notes on this run", "\n".join(_fill(f"- {note}", "  ") for note in notes)),
        ("Sources", _sources(posting, cv_source, page, research)),
    ]
    written = [f"{title}\n{'=' * min(len(title), LINE_WIDTH)}\n\n{body}" for title, body in parts if body]
    return "\n\n".join(written) + "\n"


def _summary(posting: Posting) -> str:
    lines = [
        f"Position:  {posting.title or _NOT_STATED}",
        f"Company:   {posting.company or _NOT_STATED}",
        f"Location:  {posting.location or _NOT_STATED}",
        f"Job id:    {posting.job_id}",
    ]
    prose = [line for line in posting.description.split("\n") if line.rstrip().endswith((".", "!", "。"))]
    extract = " ".join(sentences(" ".join(prose) or posting.description)[:SUMMARY_SENTENCES])
    body = f"In the posting's own words:\n{_fill(extract, '  ')}" if extract else "The posting has no description."
    return "\n".join(lines) + "\n\n" + body


def _company(posting: Posting, research: Research) -> str:
    name = posting.company or "The company"
    if not research.sources:
        return _fill(f"{name}: no information beyond the posting. {research.note}.", "")
    excerpts = [
        _fill(f'{one_line(source.title) or one_line(source.url)}: "{_shortened(source.excerpt)}"', "  ")
        for source in research.sources
    ]
    return "\n\n".join([_fill(f"{name} in its own words. {research.note}.", ""), *excerpts])


def _gaps(comparisons: Sequence[Comparison]) -> str:
    gaps = [comparison.requirement for comparison in comparisons if comparison.verdict is Verdict.GAP]
    if not gaps:
        return "None: the master CV has something for each requirement that could be judged."
    return "\n".join(_fill(f"- {gap}", "  ") for gap in gaps)


def _requirements(comparisons: Sequence[Comparison]) -> str:
    if not comparisons:
        return "The posting lists no requirements that could be told apart from the rest of its text."
    return "\n\n".join(_requirement(number, comparison) for number, comparison in enumerate(comparisons, 1))


def _requirement(number: int, comparison: Comparison) -> str:
    lines = [_fill(f"{number}. {comparison.requirement}", "   ")]
    verdict = comparison.verdict.value
    if comparison.verdict is Verdict.PARTLY:
        verdict += f"; the evidence does not mention: {', '.join(comparison.missing)}"
    if comparison.verdict is Verdict.GAP:
        verdict += ": the master CV does not mention it, at least not in these words"
    if comparison.asks_for_years and comparison.evidence:
        verdict += " (the number of years was not checked)"
    lines.append(_fill(f"   -> {verdict}", "      "))
    for fact in comparison.evidence:
        where = f" [{fact.where}]" if fact.where else ""
        lines.append(_fill(f'      "{plain(fact.text)}"{where}', "      "))
    return "\n".join(lines)


def _fit(comparisons: Sequence[Comparison], posting: Posting, cv_text: str, judged_by: str) -> str:
    score = score_of(comparisons)
    lines = ["Score: " + ("none, as there are no requirements to judge" if score is None else f"{score} of 100")]
    for verdict in Verdict:
        those = [str(number) for number, one in enumerate(comparisons, 1) if one.verdict is verdict]
        if those:
            lines.append(_fill(f"- {verdict.value}: {len(those)} of {len(comparisons)} (no. {', '.join(those)})", "  "))
    found = list(dict.fromkeys(word for comparison in comparisons for word in comparison.found))
    if found:
        lines.append(_fill(f"- Words in common: {', '.join(found[:20])}", "  "))
    lines.append("")
    how = f"The model {judged_by} compared" if judged_by else "Words were compared, not meanings"
    note = f"A requirement met counts one, one partly met a half. {how}: read the evidence."
    theirs, ours = language(posting.text), language(cv_text)
    if theirs and ours and theirs != ours:
        note += (
            f" The posting is in {theirs} and the master CV in {ours}: fewer words match than should, and what the CV"
            f" and the letter take from the master CV is not translated. A master CV in {theirs} would fix both."
        )
    lines.append(_fill(note, ""))
    return "\n".join(lines)


def _questions(posting: Posting, comparisons: Sequence[Comparison]) -> str:
    gaps = [one.requirement for one in comparisons if one.verdict is Verdict.GAP][:MAX_GAP_QUESTIONS]
    questions = [f'How much does this weigh, and can it be learnt on the job: "{gap}"?' for gap in gaps]
    everything = f"{posting.text}\n{posting.location}"
    questions += [text for topic, text in _OPEN_POINTS if not re.search(topic, everything, re.IGNORECASE)]
    questions.append("What should have changed a year from now, if the work goes well?")
    return "\n".join(_fill(f"- {question}", "  ") for question in questions[:MAX_QUESTIONS])


def _sources(posting: Posting, cv_source: str, page: Page, research: Research) -> str:
    lines = [
        f"- Posting: {posting.url or 'no URL stated'} (kept in {posting.source})",
        _fill(f"- Its text: {page.note}.", "  "),
        f"- Master CV: {cv_source}",
        *(f"- {one_line(source.title) or 'Page'}: {one_line(source.url)}" for source in research.sources),
    ]
    return "\n".join(lines)


def _shortened(text: str) -> str:
    return textwrap.shorten(one_line(text), MAX_EXCERPT_LENGTH, placeholder=" …")


def _fill(text: str, indent: str) -> str:
    return textwrap.fill(
        text,
        LINE_WIDTH,
        initial_indent=indent if not text.startswith((" ", "-")) and indent == "  " else "",
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
