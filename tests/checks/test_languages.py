"""Languages: told with certainty or not at all, allowed or not, as the question's; and without the extra."""

import json
import sys

import pytest
from pydantic import ValidationError

from gateway.checks import languages
from gateway.checks.language import Language
from gateway.core.terms import Passage, Place
from gateway.wire.endpoints import CHAT

SAID = {
    "en": "The meeting has been moved to Thursday because the room is being painted.",
    "de": "Die Besprechung wurde auf Donnerstag verschoben, weil der Raum gestrichen wird.",
    "fr": "La réunion a été reportée à jeudi parce que la salle est en train d'être repeinte.",
    "es": "La reunión se ha trasladado al jueves porque están pintando la sala.",
    "ru": "Встречу перенесли на четверг, потому что в комнате красят стены.",
    "uk": "Зустріч перенесли на четвер, бо в кімнаті фарбують стіни.",
    "ja": "部屋を塗装しているため、会議は木曜日に変更されました。",
    "zh": "因为房间正在粉刷，会议改到星期四。",
}
UNTOLD = ["Thanks!", "OK", "", "12345 67890", "x = f(y)", "bob@example.org https://example.com/der/die/das"]


def judged(text, place=Place.CONTENT, **settings):
    return Language(by="language", **settings).judge([Passage("p", place, text)])


@pytest.mark.parametrize("code", SAID)
def test_a_language_is_told(code):
    assert languages.language_of(SAID[code], 0.5) == code
    assert not judged(SAID[code], allow=[code]).hit
    other = "de" if code != "de" else "en"
    assert judged(SAID[code], allow=[other]).categories == (code,)


@pytest.mark.parametrize("text", UNTOLD)
def test_what_tells_no_language_is_clear(text):
    assert languages.language_of(text, 0.5) is None
    assert not judged(text, allow=["fi"]).hit


def test_code_is_no_prose():
    text = f"{SAID['de']}\n```python\nfor the_name in the_list_of_all_names: print('this is the name', the_name)\n```"
    assert languages.language_of(text, 0.5) == "de"


def test_certainty():
    text = "Dette er en helt vanlig setning."  # Norwegian, and nearly Danish
    assert judged(text, allow=["en"]).hit
    assert not judged(text, allow=["en"], certainty=0.99).hit


@pytest.mark.parametrize(
    ("asked", "answered", "hit"), [("de", "de", False), ("de", "en", True), ("ru", "uk", True), ("OK?", "fr", False)]
)
def test_an_answer_in_the_language_of_the_question(asked, answered, hit):
    document = {"model": "m", "messages": [{"role": "user", "content": SAID.get(asked, asked)}]}
    request = CHAT.read(json.dumps(document).encode())
    check = Language(by="language", same_as_input=True).bound(request)
    assert check.judge([Passage("p", Place.CONTENT, SAID[answered])]).hit is hit


def test_names():
    with pytest.raises(ValidationError, match=r"no language 'eng'.*did you mean 'en'"):
        Language(by="language", allow=["eng"])
    with pytest.raises(ValidationError, match="no language 'latin'"):
        Language(by="language", allow=["latin"])
    with pytest.raises(ValidationError, match="no script 'en'"):
        Language(allow=["en"])


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    languages.model.cache_clear()
    try:
        with pytest.raises(ValidationError, match=r"needs the extra: pip install 'outrider\[language\]'"):
            Language(by="language", allow=["en"])
        assert Language(allow=["latin"]).judge([Passage("p", Place.CONTENT, SAID["ru"])]).hit
    finally:
        languages.model.cache_clear()
