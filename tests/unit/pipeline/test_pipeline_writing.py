"""The content of the documents: the CV's own words, ordered for the posting."""

from __future__ import annotations

import io
import zipfile

import pytest
from docx import Document

from pipeline_runner.company_research import READ_ON, Research
from pipeline_runner.cv_writing import write_cv
from pipeline_runner.documents import make_docx
from pipeline_runner.dossier_writing import write_dossier
from pipeline_runner.fit import Verdict, compare, score_of
from pipeline_runner.letter_writing import strongest_facts, write_letter
from pipeline_runner.markup import plain
from pipeline_runner.master_cv import Kind, parse_master_cv
from pipeline_runner.page_reading import NO_URL, READ_FROM, Page
from pipeline_runner.postings import posting_from
from pipeline_runner.profile_files import profile_files
from pipeline_runner.profiles import read_profile
from pipeline_runner.ranking import Fact, facts_of, query_of, rank
from pipeline_runner.requirements import requirements_of
from pipeline_runner.sources import Source
from pipeline_runner.text import language, sentences, words

PROFILES = {name: read_profile(path) for name, path in profile_files().items()}
CV = """
# Ada Example

Engineer  
Hamburg · [ada@example.com](mailto:ada@example.com)

## Profile

First paragraph. With two sentences.

Second paragraph.

## Skills

- **Data:** SQL, Redis
- **Platforms:** Docker, Kubernetes

## Experience

### Engineer, New GmbH

*2020 - today*

- Grew roses.
- Ran **Kubernetes** and wrote [a tool](https://example.com/tool).
- Counted sheep.
- Painted walls.
- Baked bread.

### Engineer, Old GmbH

- Wrote Python.

## Education

- M.Sc.

## Languages

- German (C2)
"""  # noqa: W291 - two trailing spaces are a line break in Markdown


def posting(**fields: object):
    return posting_from({"title": "Kubernetes engineer", "company": "Example AG", **fields}, job_id="1", source="test")


@pytest.fixture
def cv():
    return parse_master_cv(CV)


def fact(text: str, kind: Kind = Kind.EXPERIENCE) -> Fact:
    return Fact(text=text, where="somewhere", kind=kind)


def test_cv_is_parsed(cv):
    assert cv.name == "Ada Example"
    assert cv.contact == ["Engineer", "Hamburg · [ada@example.com](mailto:ada@example.com)"]
    kinds = [section.kind for section in cv.sections]
    assert kinds == [Kind.PROFILE, Kind.SKILLS, Kind.EXPERIENCE, Kind.EDUCATION, Kind.LANGUAGES]
    assert cv.sections[2].entries[0].label == "Engineer, New GmbH, 2020 - today"


def test_first_line_is_the_name_without_headings():
    cv = parse_master_cv("Ada Example\nHamburg\n")
    assert (cv.name, cv.contact) == ("Ada Example", ["Hamburg"])


def test_bold_paragraphs_are_roles():
    cv = parse_master_cv("# Ada\n\n# Experience\n\n**One**\n\n- a\n\n**Two**\n\n- b\n")
    assert [(entry.details, entry.bullets) for entry in cv.sections[0].entries] == [
        (["**One**"], ["a"]),
        (["**Two**"], ["b"]),
    ]


def test_comments_front_matter_and_document_title_are_ignored():
    cv = parse_master_cv("---\nkey: value\n---\n# Curriculum Vitae\n# Ada <!-- really -->\n<!-- a\n\nnote -->\n")
    assert (cv.name, cv.contact, cv.sections) == ("Ada", [], [])


def test_bullets_are_ordered_by_relevance_and_limited(cv):
    written = write_cv(cv, words("Kubernetes"), PROFILES["default"])
    role = written.split("### Engineer, New GmbH")[1].split("###")[0]
    bullets = [line for line in role.split("\n") if line.startswith("- ")]
    assert bullets[0] == "- Ran **Kubernetes** and wrote [a tool](https://example.com/tool)."
    assert bullets[1:] == ["- Grew roses.", "- Counted sheep.", "- Painted walls."]


def test_roles_keep_their_order(cv):
    written = write_cv(cv, words("Python"), PROFILES["default"])
    assert written.index("New GmbH") < written.index("Old GmbH")


def test_skills_in_the_posting_come_first(cv):
    written = write_cv(cv, words("Kubernetes"), PROFILES["default"])
    assert "- **Platforms:** Kubernetes, Docker\n- **Data:** SQL, Redis" in written


def test_prose_skills_stay_unchanged():
    cv = parse_master_cv("# A\n\n## Skills\n\n- I know Docker (well), Helm, and Kubernetes.\n")
    assert "- I know Docker (well), Helm, and Kubernetes." in write_cv(cv, words("Helm"), PROFILES["default"])


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
@pytest.mark.parametrize("job_id", ["4711", "4712", "4713"])
def test_every_line_of_the_cv_is_from_the_master_cv(samples, profile, job_id):
    source = (samples / "master-cv.md").read_text()
    posting = posting_from({"title": job_id}, job_id=job_id, source="test")
    written = write_cv(parse_master_cv(source), query_of(posting, ["Kubernetes", "SQL", "Python"]), profile)
    known = {frozenset(words(line)) for line in source.split("\n")}  # as sets, because skills are reordered
    assert [line for line in written.split("\n") if frozenset(words(line)) not in known] == []


def test_letter_names_role_and_company_and_quotes_three_facts(cv):
    job = posting(url="https://example.com/1")
    facts = facts_of(cv)
    quoted = strongest_facts(facts, query_of(job, ["Kubernetes", "Python", "bread"]))
    letter = " ".join(write_letter(cv, job, quoted).split())
    assert "Dear hiring team at Example AG," in letter
    assert "the position of Kubernetes engineer at Example AG" in letter
    assert len(quoted) == 3
    for one in quoted:
        assert plain(one.text) in letter
        assert f"({one.where})" in letter
    assert letter.endswith("Kind regards Ada Example")


def test_letter_without_matches_quotes_the_latest_role(cv):
    quoted = strongest_facts(facts_of(cv), words("Zookeeper"))
    assert quoted[0].text == "Grew roses."


def test_letter_works_with_minimal_input():
    nobody = parse_master_cv("# Ada\n")
    letter = write_letter(nobody, posting_from({}, job_id="1", source="test"), [])
    assert "I am applying for the position that you have advertised." in letter
    assert "None" not in letter


def test_requirement_has_evidence_or_is_a_gap(cv):
    facts = facts_of(cv)
    met, partly, gap, unclear = compare(
        ["Experience with Kubernetes", "Python, Fortran and Cobol", "Forklift licence", "5 years of experience"], facts
    )
    assert (met.verdict, partly.verdict, gap.verdict, unclear.verdict) == tuple(Verdict)
    assert met.evidence[-1].text.startswith("Ran **Kubernetes**")
    assert partly.missing == ("Fortran", "Cobol")
    assert gap.evidence == ()
    assert score_of([met, partly, gap, unclear]) == 50


def test_one_common_word_is_not_evidence():
    [comparison] = compare(["Service meshes such as Istio"], [fact("Moved 46 services to other machines.")])
    assert comparison.verdict is Verdict.GAP


def test_score_needs_requirements():
    assert score_of([]) is None


STORED = Page(text="", from_page=False, note=NO_URL)
NOTHING = Research(note="The posting names no website of the company")


def dossier_of(job, comparisons=(), cv_text="", *, page=STORED, research=NOTHING):
    return write_dossier(job, comparisons, cv_text, "master-cv.md", page=page, research=research)


def test_dossier_has_all_sections(cv):
    job = posting(description="We build. You must know Kubernetes.\n", url="https://example.com/1")
    comparisons = compare([*requirements_of(job), "Forklift licence"], facts_of(cv))
    dossier = dossier_of(job, comparisons)
    for part in ("Requirements and evidence", "Score: 50 of 100", "-> met", "-> gap", "Questions to ask"):
        assert part in dossier
    assert "- Posting: https://example.com/1 (kept in test)" in dossier
    assert '"Forklift licence"?' in dossier


def test_dossier_cites_its_sources():
    source = Source(title="About\nus", url="https://acme.example/about", excerpt="We build " + "bridges " * 200)
    research = Research(sources=(source,), note=f"{READ_ON} https://acme.example/")
    page = Page(text="x", url="https://jobs.example/1", from_page=True, note=f"{READ_FROM} https://jobs.example/1")
    dossier = dossier_of(posting(company="Acme"), page=page, research=research)
    assert f"Acme in its own words. {READ_ON}" in dossier
    assert 'About us: "We build bridges' in dossier
    assert max(map(len, dossier.split("\n"))) <= 90
    assert dossier.count("bridges") < 90
    assert "- About us: https://acme.example/about" in dossier
    assert f"- Its text: {READ_FROM} https://jobs.example/1." in dossier


def test_dossier_says_why_there_is_no_company_information():
    assert "information beyond the posting. The posting names no website" in " ".join(dossier_of(posting()).split())


def test_dossier_asks_only_open_questions():
    assert "What salary range" in dossier_of(posting())
    assert "What salary range" not in dossier_of(posting(description="Salary: 60.000 EUR"))


def test_dossier_warns_about_different_languages(samples):
    german = "Wir suchen für unser Team eine Person, die mit uns und für uns auf der Station arbeitet."
    english = "I have led the work of a group and I still write the code that we run on the platform."
    assert (language(german), language(english), language("Kubernetes")) == ("German", "English", None)
    assert "The posting is in German" in dossier_of(posting(description=german), cv_text=english)


def test_ranking_puts_texts_without_matches_last():
    ranked = rank(["roses", "sheep", "Kubernetes", ""], words("kubernetes"))
    assert [match.index for match in ranked] == [2, 0, 1, 3]


@pytest.mark.parametrize("texts", [[], [""], ["", "the"], ["roses"]])
def test_ranking_accepts_empty_input(texts):
    assert len(rank(texts, [])) == len(rank(texts, ["rose"])) == len(texts)


def test_words_are_found_in_many_scripts():
    assert words("C++ and C#, Kubernetes-Cluster") == ["c++", "c#", "kubernete", "cluster"]
    assert words("Разработка сервисов") == ["разработка", "сервисов"]
    assert words("東京都") == ["東京", "京都"]
    assert words("\uff30\uff59\uff54\uff48\uff4f\uff4e") == ["python"]  # full-width letters


def test_abbreviation_before_a_lower_case_letter_does_not_end_a_sentence():
    assert sentences("I know e.g. this. And that!  Été. 東京。大阪。") == [
        "I know e.g. this.",
        "And that!",
        "Été.",
        "東京。",
        "大阪。",
    ]


def test_docx_keeps_headings_lists_bold_and_links():
    markdown = "# Ada\n\nplain **bold** *italic*  \nnext\n\n## Work\n\n- one [tool](https://example.com/t)\n  - inner\n"
    document = Document(io.BytesIO(make_docx(markdown, title="Ada")))
    assert [(paragraph.style.name, paragraph.text) for paragraph in document.paragraphs] == [
        ("Heading 1", "Ada"),
        ("Normal", "plain bold italic\nnext"),
        ("Heading 2", "Work"),
        ("List Bullet", "one tool"),
        ("List Bullet 2", "inner"),
    ]
    assert [run.text for run in document.paragraphs[1].runs if run.bold] == ["bold"]
    assert [run.text for run in document.paragraphs[1].runs if run.italic] == ["italic"]
    [link] = document.paragraphs[3].hyperlinks
    assert (link.text, link.address) == ("tool", "https://example.com/t")


def test_only_web_mail_and_phone_links_are_kept():
    document = Document(io.BytesIO(make_docx("[a](ftp://example.com) [b](../x)", title="")))
    assert document.paragraphs[0].hyperlinks == []
    assert document.paragraphs[0].text == "a b"


def test_docx_omits_characters_that_xml_forbids():
    markdown = "# Ada&#12;\x00\x0b\n\n\ufffeOne&#12;two \ud83d\n\n```\n\x07code\n```\n"
    document = Document(io.BytesIO(make_docx(markdown, title="Ada\x0b\ud83d")))
    texts = [paragraph.text for paragraph in document.paragraphs]
    assert [text.replace("\n", " ").strip() for text in texts] == ["Ada \ufffd", "One two \ufffd", "code"]


def test_docx_contains_no_current_time():
    first, second = (make_docx("# Ada\n\n[x](https://example.com)\n", title="Ada") for _ in range(2))
    assert first == second
    assert {member.date_time[0] for member in zipfile.ZipFile(io.BytesIO(first)).infolist()} == {1980}
    assert Document(io.BytesIO(first)).core_properties.modified.year == 2000
