"""Bundled and custom profiles."""

from __future__ import annotations

import pytest

from pipeline_runner.cv_writing import write_cv
from pipeline_runner.errors import ProfileNotUsableError
from pipeline_runner.letter_frames import frame
from pipeline_runner.letter_writing import write_letter
from pipeline_runner.master_cv import parse_master_cv
from pipeline_runner.postings import posting_from
from pipeline_runner.profile_files import profile_files
from pipeline_runner.profiles import read_profile

POSTING = posting_from({"title": "Leitung", "company": "Beispiel AG"}, job_id="1", source="test")


def test_two_profiles_are_bundled():
    assert list(profile_files()) == ["default", "senior"]
    assert {read_profile(path).name for path in profile_files().values()} == {"default", "senior"}


def test_custom_profiles_extend_and_override_bundled_ones(run, sample_environment, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "default.yaml").write_text("sections: [education]\n")
    (tmp_path / "own" / "short.yaml").write_text("tone: warm\nlanguage: German\n")
    assert list(profile_files(tmp_path / "own")) == ["default", "senior", "short"]
    environment = {**sample_environment, "PROFILES_DIR": str(tmp_path / "own")}
    assert run("--job-id", "4713", "--profile", "short", environment=environment).returncode == 0
    [letter] = (tmp_path / "applications").rglob("cover_letter.txt")
    assert "Hallo zusammen," in letter.read_text()
    assert run("--job-id", "4711", environment=environment).returncode == 0
    [cv] = (tmp_path / "applications" / "hafenwerk-systems-gmbh").rglob("CV.md")
    assert "## Skills" not in cv.read_text()


def test_missing_profiles_folder_leaves_the_bundled_ones(tmp_path):
    assert list(profile_files(tmp_path / "nowhere")) == ["default", "senior"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tone: [", "is not valid YAML"),
        ("\ufffe\x00", "is not valid YAML"),
        ("- a list", "must have fields"),
        ("", "must have fields"),
        ("tone: shrill", "tone: Input should be 'plain', 'warm' or 'formal'"),
        ("length: {recent_roles: many}", "length.recent_roles: Input should be a valid integer"),
        ("length: {recent_roles: -1}", "length.recent_roles: "),
        ("sections: [hobbies]", "sections.0: "),
        ("colour: red", "colour: Extra inputs are not permitted"),
        ("{1: 2}", "1: "),
    ],
)
def test_invalid_profile_names_file_and_field(tmp_path, text, problem):
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ProfileNotUsableError) as caught:
        read_profile(path)
    assert f"The profile {path} " in str(caught.value)
    assert problem in str(caught.value)


def test_invalid_profile_fails_at_once(run, sample_environment, tmp_path):
    (tmp_path / "broken.yaml").write_text("tone: shrill")
    done = run(
        "--job-id", "1", "--profile", "broken", environment={**sample_environment, "PROFILES_DIR": str(tmp_path)}
    )
    assert done.returncode == 6
    assert done.stdout.strip().split("\n")[-1].startswith(f"Pipeline failed: The profile {tmp_path / 'broken.yaml'} ")
    assert "::progress::" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_profile_orders_sections_and_keeps_roles(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text("sections: [education, skills]")
    cv = parse_master_cv("# Ada\n\n## Skills\n\n- Go\n\n## Experience\n\n- Grew roses.\n\n## Education\n\n- M.Sc.\n")
    written = write_cv(cv, [], read_profile(path))
    assert [line for line in written.split("\n") if line.startswith("## ")] == [
        "## Education",
        "## Skills",
        "## Experience",
    ]


@pytest.mark.parametrize("tone", ["plain", "warm", "formal"])
@pytest.mark.parametrize("language", ["English", "German"])
def test_letter_has_a_frame_in_each_tone_and_language(language, tone):
    around = frame(language, tone)
    letter = write_letter(parse_master_cv("# Ada\n"), POSTING, [], around=around)
    assert around.farewell in letter
    assert "Beispiel AG" in letter
    assert "{" not in letter
