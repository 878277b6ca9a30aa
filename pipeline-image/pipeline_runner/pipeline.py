"""The pipeline's eight steps."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace

from pipeline_runner.analysis import analyse
from pipeline_runner.artifacts import artifact_folder, write_artifacts
from pipeline_runner.assistance import Assistance, connect
from pipeline_runner.browsing import Browser
from pipeline_runner.choosing import choose
from pipeline_runner.company_research import research_company
from pipeline_runner.documents import make_docx
from pipeline_runner.dossier_writing import write_dossier
from pipeline_runner.egress import networks_from
from pipeline_runner.firecrawl import Firecrawl
from pipeline_runner.fit import Verdict, score_of
from pipeline_runner.markup import plain
from pipeline_runner.master_cv import read_master_cv
from pipeline_runner.page_reading import read_page
from pipeline_runner.posting_sources import load_posting
from pipeline_runner.profiles import Profile
from pipeline_runner.progress import Progress
from pipeline_runner.ranking import facts_of
from pipeline_runner.settings import Settings
from pipeline_runner.tracing import Removed
from pipeline_runner.writing import write_documents

STEPS = 8
MAX_REMOVED_NAMED = 20
MAX_REMOVED_LENGTH = 300  # characters of a sentence in the log


def run(job_id: str, profile: Profile, settings: Settings, progress: Progress) -> None:
    """Turn one posting into the four artifacts, each written as soon as it is ready.

    Raises:
        PipelineError: See `pipeline_runner.errors`.
    """
    networks = networks_from(settings.browser_allowed_networks)
    browser = Browser(executable=settings.chromium_path, allowed=networks, page_seconds=settings.page_seconds)
    with connect(settings.model, profile, progress.say) as model:
        _run(job_id, profile, settings, progress, Assistance(model, progress.say), browser)


def _run(
    job_id: str, profile: Profile, settings: Settings, progress: Progress, assistance: Assistance, browser: Browser
) -> None:
    root = settings.applications_dir
    with progress.step("Reading the master CV") as step:
        cv = read_master_cv(settings.master_cv)
        facts = facts_of(cv)
        step.summary = f"{len(cv.sections)} sections with {len(facts)} facts"

    with progress.step("Reading the posting") as step:
        posting = load_posting(job_id, settings)
        folder = artifact_folder(root, posting)
        step.summary = f"{posting.title or 'no title'}, {posting.company or 'no company'}"

    with browser:  # closed before the model is used
        with progress.step("Reading the posting's page") as step:
            page = read_page(posting, browser)
            posting = replace(posting, description=page.text)
            if page.screenshot:
                write_artifacts(root, folder, {"screenshot.png": page.screenshot})
            step.summary = page.note
            if not posting.description and not posting.requirements:
                progress.say("The posting has no description: the documents can hardly be tailored to it.")

        with progress.step("Researching the company") as step:
            key = settings.firecrawl_api_key
            firecrawl = Firecrawl(settings.firecrawl_api_url, key) if key else None
            research = research_company(posting, browser, firecrawl)
            pages = len(research.sources)
            count = f" ({pages} {'page' if pages == 1 else 'pages'})" if pages else ""
            step.summary = f"{research.note}{count}"

    def dossier() -> bytes:
        return write_dossier(
            posting,
            comparisons,
            " ".join(fact.text for fact in facts),
            settings.master_cv.name,
            page=page,
            research=research,
            notes=assistance.notes,
            judged_by=judged_by,
        ).encode()

    with progress.step("Analysing the requirements") as step:
        comparisons = analyse(posting, facts, assistance)
        judged_by = assistance.name
        met = sum(comparison.verdict is Verdict.MET for comparison in comparisons)
        score = score_of(comparisons)
        write_artifacts(root, folder, {"dossier.txt": dossier()})
        step.summary = f"{met} of {len(comparisons)} requirements met" + ("" if score is None else f", score {score}")

    with progress.step("Choosing from the master CV") as step:
        choice = choose(posting, comparisons, facts, profile, assistance)
        first = (
            f"the model chose {len(choice.preferred)} facts to come first"
            if choice.preferred
            else "facts are ordered by the posting's words"
        )
        step.summary = f"{first} in the CV; {len(choice.letter)} facts are for the letter"

    with progress.step("Writing the CV and the letter") as step:
        documents = write_documents(cv, posting, choice, facts, profile, assistance)
        _say_removed(documents.removed, progress)
        written = {"CV.md": documents.cv.encode(), "cover_letter.txt": documents.letter.encode()}
        write_artifacts(root, folder, written)
        step.summary = f"a CV of {len(documents.cv.split())} words, and a letter with {len(choice.letter)} facts"
        step.summary += f", {documents.reworded} of them reworded" if documents.reworded else ""

    with progress.step("Making the Word document and the dossier") as step:
        docx = make_docx(documents.cv, title=plain(cv.name))
        if documents.removed:
            assistance.notes.append(
                f"{len(documents.removed)} sentences from the model could not be traced to the master CV and were left "
                "out of the CV and the letter; see the log."
            )
        files = {**written, "CV.docx": docx, "dossier.txt": dossier()}
        write_artifacts(root, folder, files)
        assistance.say_costs()
        step.summary = f"{', '.join(sorted(files))} are in {folder}"


def _say_removed(removed: Sequence[Removed], progress: Progress) -> None:
    for one in removed[:MAX_REMOVED_NAMED]:
        sentence = textwrap.shorten(one.sentence, MAX_REMOVED_LENGTH, placeholder=" ...")
        why = textwrap.shorten(one.why, MAX_REMOVED_LENGTH, placeholder=" ...")
        progress.say(f"Not traced to the master CV and left out: {sentence!r}, because {why}.")
    if len(removed) > MAX_REMOVED_NAMED:
        progress.say(f"Not traced and left out: {len(removed) - MAX_REMOVED_NAMED} more sentences.")
