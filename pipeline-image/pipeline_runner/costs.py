"""The cost of the model's answers."""

from __future__ import annotations

import re
from dataclasses import dataclass

# US dollars per million input and output tokens: list prices of November 2025. Other models have no price.
PRICES = {
    "gpt-4.1": (2.00, 8.00),
    "gpt-4.1-mini": (0.40, 1.60),
    "gpt-4.1-nano": (0.10, 0.40),
    "gpt-4o": (2.50, 10.00),
    "gpt-4o-mini": (0.15, 0.60),
    "gpt-5": (1.25, 10.00),
    "gpt-5-mini": (0.25, 2.00),
    "gpt-5-nano": (0.05, 0.40),
}
_DATE = re.compile(r"-\d{4}-\d{2}-\d{2}$")


@dataclass
class Costs:
    """The tokens and the price of all answers, including unusable ones, which cost money too."""

    model: str
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    #: US dollars as reported by the provider; None if it reports none.
    stated: float | None = None

    def add(self, usage: object) -> None:
        """Add one answer's ``usage``; missing and invalid numbers count as 0."""
        self.calls += 1
        fields = usage if isinstance(usage, dict) else {}
        self.tokens_in += int(_number(fields.get("prompt_tokens")))
        self.tokens_out += int(_number(fields.get("completion_tokens")))
        if "cost" in fields:
            self.stated = (self.stated or 0.0) + _number(fields["cost"])

    def summary(self) -> str:
        """Return the totals on one line."""
        return f"{self.model}: {self.calls} answers, {self.tokens_in} tokens in, {self.tokens_out} out, {self._price()}"

    def _price(self) -> str:
        if self.stated is not None:
            return f"${self.stated:.4f} as reported by the provider"
        price = PRICES.get(_DATE.sub("", self.model.removeprefix("openai/")))
        if not price:
            return "price unknown"
        dollars = (self.tokens_in * price[0] + self.tokens_out * price[1]) / 1_000_000
        return f"about ${dollars:.4f} by list price"


def _number(value: object) -> float:
    usable = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return float(value) if usable else 0.0  # type: ignore[arg-type]  # `usable` has checked it
