"""The pipeline's eight steps, in their order."""

from __future__ import annotations

from dataclasses import replace

from pipeline_runner.artifacts import artifact_folder, write_artifacts
from pipeline_runner.browsing import Browser
from pipeline_runner.company_research import research_company
from pipeline_runner.cv_writing import write_cv
from pipeline_runner.documents import make_docx
from pipeline_runner.dossier_writing import write_dossier
from pipeline_runner.egress import networks_from
from pipeline_runner.firecrawl import Firecrawl
from pipeline_runner.fit import Verdict, compare, score_of
from pipeline_runner.letter_writing import strongest_facts, write_letter
from pipeline_runner.markup import plain
from pipeline_runner.master_cv import read_master_cv
from pipeline_runner.page_reading import read_page
from pipeline_runner.posting_sources import load_posting
from pipeline_runner.profiles import Profile
from pipeline_runner.progress import Progress
from pipeline_runner.ranking import facts_of, query_of
from pipeline_runner.requirements import requirements_of
from pipeline_runner.settings import Settings

STEPS = 8


def run(job_id: str, profile: Profile, settings: Settings, progress: Progress) -> None:
    """Turn one posting into the four artifacts.

    Raises:
        PipelineError: With a sentence for people; see `pipeline_runner.errors`.
    """
    networks = networks_from(settings.browser_allowed_networks)
    with progress.step("Reading the master CV") as step:
        cv = read_master_cv(settings.master_cv)
        facts = facts_of(cv)
        step.summary = f"{len(cv.sections)} sections with {len(facts)} facts"

    with progress.step("Reading the posting") as step:
        posting = load_posting(job_id, settings)
        step.summary = f"{posting.title or 'no title'}, {posting.company or 'no company'}"

    with Browser(executable=settings.chromium_path, allowed=networks, page_seconds=settings.page_seconds) as browser:
        with progress.step("Reading the posting's page") as step:
            page = read_page(posting, browser)
            posting = replace(posting, description=page.text)
            if page.screenshot:
                folder = artifact_folder(settings.applications_dir, posting)
                write_artifacts(settings.applications_dir, folder, {"screenshot.png": page.screenshot})
            step.summary = page.note
            if not posting.description and not posting.requirements:
                progress.say("The posting has no description: the documents can hardly be fitted to it.")

        with progress.step("Researching the company") as step:
            key = settings.firecrawl_api_key
            firecrawl = Firecrawl(settings.firecrawl_api_url, key) if key else None
            research = research_company(posting, browser, firecrawl)
            step.summary = f"{research.note}; sources: {len(research.sources)}"

    with progress.step("Comparing the posting with the CV") as step:
        requirements = requirements_of(posting)
        query = query_of(posting, requirements)
        comparisons = compare(requirements, facts)
        met = sum(comparison.verdict is Verdict.MET for comparison in comparisons)
        score = score_of(comparisons)
        step.summary = f"{met} of {len(comparisons)} requirements met" + ("" if score is None else f", score {score}")

    with progress.step("Writing the CV, the letter and the dossier") as step:
        cv_markdown = write_cv(cv, query, profile)
        quoted = strongest_facts(facts, query)
        letter = write_letter(cv, posting, quoted)
        cv_text = " ".join(fact.text for fact in facts)
        dossier = write_dossier(posting, comparisons, cv_text, settings.master_cv.name)
        step.summary = f"a CV of {len(cv_markdown.split())} words, quotations in the letter: {len(quoted)}"

    with progress.step("Making the Word document") as step:
        docx = make_docx(cv_markdown, title=plain(cv.name))
        step.summary = f"{len(docx)} bytes"

    with progress.step("Storing the artifacts") as step:
        folder = artifact_folder(settings.applications_dir, posting)
        files = {
            "CV.md": cv_markdown.encode(),
            "CV.docx": docx,
            "cover_letter.txt": letter.encode(),
            "dossier.txt": dossier.encode(),
        }
        write_artifacts(settings.applications_dir, folder, files)
        step.summary = f"{', '.join(files)} are in {folder}"
