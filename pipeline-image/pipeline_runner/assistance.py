"""The language model while it is of help, and nothing from then on: the offline writer takes over, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from pipeline_runner.errors import ModelUnavailableError
from pipeline_runner.settings import ModelSettings

if TYPE_CHECKING:
    from pipeline_runner.answers import Answer
    from pipeline_runner.models import Model
    from pipeline_runner.profiles import Profile

    AnswerT = TypeVar("AnswerT", bound=Answer)


class Assistance:
    """Asks the model, if there is one; a model that fails is not asked again in this run."""

    def __init__(self, model: Model | None, say: Callable[[str], None]) -> None:
        """Work offline without a model."""
        self._model = model
        self._say = say
        #: What people should know of it, for the dossier.
        self.notes: list[str] = [] if model else ["No language model was asked: this was written offline."]

    @property
    def name(self) -> str:
        """The name of the model, while there is one to ask; else nothing."""
        return self._model.costs.model if self._model else ""

    def ask(self, task: str, material: str, form: type[AnswerT]) -> AnswerT | None:
        """Return the model's answer, or None when the offline writer has to do.

        Raises:
            ModelRefusedError: The configuration is wrong, which no fallback should hide.
        """
        if self._model is None:
            return None
        try:
            return self._model.ask(task, material, form)
        except ModelUnavailableError as exc:
            note = f"{exc} From here on this run works offline, without the model."
            self._say(note)
            self.notes.append(note)
            self.say_costs()
            self._model = None
            return None

    def say_costs(self) -> None:
        """Print what the model has cost, if one was there to the end."""
        if self._model is not None:
            self._say(f"Model {self._model.costs.summary()}.")


def connect(
    settings: ModelSettings | None, profile: Profile, say: Callable[[str], None]
) -> AbstractContextManager[Model | None]:
    """Return the model of the settings, or the profile's, to be closed at the end.

    httpx is loaded only where there is a model.
    """
    if settings is None:
        return nullcontext()
    from pipeline_runner.models import Model

    return Model(replace(settings, model=profile.model or settings.model), say)
