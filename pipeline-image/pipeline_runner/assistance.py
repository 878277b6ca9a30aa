"""The language model as long as it works; after a failure, the run continues offline and says so."""

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

OFFLINE = "Continuing offline, without the model."


class Assistance:
    """Asks the model, if there is one. After a failure, the model is not used again in this run."""

    def __init__(self, model: Model | None, say: Callable[[str], None]) -> None:
        """Work offline without a model."""
        self._model = model
        self._say = say
        #: Remarks on the model for the dossier.
        self.notes: list[str] = [] if model else ["No language model was used: this was written offline."]

    @property
    def name(self) -> str:
        """The name of the model, or an empty string when working offline."""
        return self._model.costs.model if self._model else ""

    def ask(self, task: str, material: str, form: type[AnswerT]) -> AnswerT | None:
        """Return the model's answer, or None when working offline.

        Raises:
            ModelRefusedError: The configuration is wrong; a fallback would hide that.
        """
        if self._model is None:
            return None
        try:
            return self._model.ask(task, material, form)
        except ModelUnavailableError as exc:
            note = f"{exc} {OFFLINE}"
            self._say(note)
            self.notes.append(note)
            self.say_costs()
            self._model = None
            return None

    def say_costs(self) -> None:
        """Print the cost of the model, unless it has failed."""
        if self._model is not None:
            self._say(f"Model {self._model.costs.summary()}.")


def connect(
    settings: ModelSettings | None, profile: Profile, say: Callable[[str], None]
) -> AbstractContextManager[Model | None]:
    """Return a context with the model of the profile or the settings, or None.

    httpx is imported only if there is a model.
    """
    if settings is None:
        return nullcontext()
    from pipeline_runner.models import Model

    return Model(replace(settings, model=profile.model or settings.model), say)
