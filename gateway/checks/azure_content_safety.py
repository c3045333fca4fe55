"""Azure AI Content Safety: how severe a text is in four categories, or whether it attacks the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from gateway.checks.base import Ask, CheckFault, ServiceCall
from gateway.checks.service import NO_VERDICT, KeyEnv, Service, document, documents, told
from gateway.checks.texts import spoken
from gateway.core.terms import Document, Judgement, Passage, Place

Category = Literal["Hate", "SelfHarm", "Sexual", "Violence"]
Severity = Annotated[int, Field(ge=1, le=7)]
CATEGORIES: tuple[Category, ...] = ("Hate", "SelfHarm", "Sexual", "Violence")
VERSION = "2024-09-01"
MATERIAL = frozenset({Place.TOOL_RESULT, Place.ATTACHMENT})  # what did not come from the user: documents
SPOKEN_BY_MODEL = frozenset({Place.CONTENT, Place.REASONING})


class AzureContentSafety(Service):
    """A hit where a category is at least as severe as its threshold, or a blocklist matches.

    With `shield`: where the service finds an attack on the prompt, in what the user says or in documents.
    """

    most: ClassVar[int | None] = 10_000  # the service's own limit

    use: Literal["azure_content_safety"] = "azure_content_safety"
    key_env: KeyEnv | None = Field(
        "AZURE_CONTENT_SAFETY_KEY", validate_default=True, description="of the service's key"
    )
    shield: bool = Field(default=False, description="look for attacks on the prompt instead of harm")
    threshold: Severity | dict[Category, Severity] = Field(
        4, description="severity (1 to 7) for all categories, or for each that counts"
    )
    categories: list[Category] = Field(list(CATEGORIES), min_length=1, description="those that count")
    blocklists: list[str] = Field([], description="names of blocklists of the service")

    async def examine(self, passages: Sequence[Passage], ask: Ask) -> Judgement:
        shown = spoken(passages) or list(passages)
        if self.shield:
            return _attacked(document(await ask.post(self._call("text:shieldPrompt", _prompt(shown)))), shown)
        body: Document = {
            "text": "\n\n".join(p.text for p in shown),
            "categories": self.categories,
            "blocklistNames": self.blocklists,
            "haltOnBlocklistHit": False,
            "outputType": "EightSeverityLevels",
        }
        return self._severe(document(await ask.post(self._call("text:analyze", body))))

    def _call(self, what: str, body: Document) -> ServiceCall:
        url = f"{self.url}/contentsafety/{what}?api-version={VERSION}"
        return ServiceCall(url, body, {"Ocp-Apim-Subscription-Key": self.key() or ""})

    def _severe(self, answer: Document) -> Judgement:
        severities: dict[str, int] = {}
        for one in documents(answer.get("categoriesAnalysis")):
            severities[told(one, "category", str)] = told(one, "severity", int)
        if not set(self.categories) <= set(severities):
            raise CheckFault(NO_VERDICT)
        lists = [told(one, "blocklistName", str) for one in documents(answer.get("blocklistsMatch") or [])]
        over = [name for name in self.categories if severities[name] >= self._bound(name)]
        named = (*over, *dict.fromkeys(lists))
        return Judgement(bool(named), named, score=max(severities[name] for name in self.categories) / 7)

    def _bound(self, category: Category) -> int:
        return self.threshold.get(category, 8) if isinstance(self.threshold, dict) else self.threshold


def _prompt(shown: Sequence[Passage]) -> Document:
    """What the user says as the prompt, everything else as documents."""
    prompt = [p.text for p in shown if p.place not in MATERIAL | SPOKEN_BY_MODEL]
    return {
        "userPrompt": "\n\n".join(prompt),
        "documents": [p.text for p in shown if p.place in MATERIAL | SPOKEN_BY_MODEL],
    }


def _attacked(answer: Document, shown: Sequence[Passage]) -> Judgement:
    named: list[str] = []
    if told(document(answer.get("userPromptAnalysis")), "attackDetected", bool):
        named.append("prompt_attack")
    found = documents(answer.get("documentsAnalysis") or [])
    if len(found) != sum(p.place in MATERIAL | SPOKEN_BY_MODEL for p in shown):
        raise CheckFault(NO_VERDICT)
    attacks = [told(one, "attackDetected", bool) for one in found]
    if any(attacks):
        named.append("document_attack")
    return Judgement(bool(named), tuple(named))
