"""Every endpoint that is served. A path that is not here answers 404: nothing passes unread."""

from __future__ import annotations

from gateway.wire.audio import Speech, Transcriptions, Translations
from gateway.wire.chat import Chat
from gateway.wire.completions import Completions
from gateway.wire.embeddings import Embeddings
from gateway.wire.endpoint import Endpoint
from gateway.wire.images import Edits, Generations, Variations
from gateway.wire.models import Models
from gateway.wire.moderations import Moderations
from gateway.wire.responses import Responses

CHAT = Chat()
COMPLETIONS = Completions()
EMBEDDINGS = Embeddings()
MODERATIONS = Moderations()
MODELS = Models()
ENDPOINTS: dict[str, Endpoint] = {
    endpoint.path: endpoint
    for endpoint in (
        CHAT,
        Responses(),
        COMPLETIONS,
        EMBEDDINGS,
        MODERATIONS,
        Generations(),
        Edits(),
        Variations(),
        Speech(),
        Transcriptions(),
        Translations(),
        MODELS,
    )
}
NAMES = frozenset(endpoint.name for endpoint in ENDPOINTS.values())
