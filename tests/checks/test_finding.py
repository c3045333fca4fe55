"""The kinds that look for patterns and verify them: what they find, what they leave, whole and in pieces."""

import itertools
import json
from importlib.resources import files

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.checks.code import Code
from gateway.checks.following import Encoded, Outermost
from gateway.checks.invisible import Invisible
from gateway.checks.pii import Pii
from gateway.checks.refusal import Refusal
from gateway.checks.secrets import Secrets, entropy, rules
from gateway.checks.urls import Urls
from gateway.core.terms import Passage, Place
from tests.conftest import many


def found(check, text):
    judged = check.find([Passage("p", Place.USER, text)])
    return [(span.category, text[span.start : span.end]) for span in judged.spans]


PII = [
    ("mail bob.smith+x@mail.example.org now", [("email", "bob.smith+x@mail.example.org")]),
    ("jürgen@müller.de", [("email", "jürgen@müller.de")]),
    ("not@an", []),
    ("4111 1111 1111 1111", [("card", "4111 1111 1111 1111")]),
    ("4111 1111 1111 1112", []),
    ("1234 4111 1111 1111 1111", [("card", "4111 1111 1111 1111")]),
    ("IBAN DE89 3704 0044 0532 0130 00.", [("iban", "DE89 3704 0044 0532 0130 00")]),
    ("ssn 536-22-1234", [("ssn", "536-22-1234")]),
    ("666-22-1234", []),
    ("call +1 (415) 555-2671", [("phone", "+1 (415) 555-2671")]),
    ("They are not answering at 78 651 450.", [("phone", "78 651 450")]),
    ("stop sending messages to 699 956 915", [("phone", "699 956 915")]),
    ("Ann Lee\n416 60 039 office\n", [("phone", "416 60 039")]),
    ("Ann Lee\n28-64-66-98 (mobile)\n", [("phone", "28-64-66-98")]),
    ("id 0abf0eba-0210-4767-918d-b269c0ffee12 of the request", []),
    ("1LJGKDcJcVsceAQeVVbiLfQCgnQukHhztR", [("crypto", "1LJGKDcJcVsceAQeVVbiLfQCgnQukHhztR")]),
    ("on 2024-05-01 at 12.30", []),
    ("from 192.168.10.20", [("ip", "192.168.10.20")]),
    ("version 1.2.3.4", []),
    ("2001:db8::8a2e:370:7334", [("ip", "2001:db8::8a2e:370:7334")]),
    ("born on 3 May 1980", [("date_of_birth", "3 May 1980")]),
    ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", [("crypto", "1BoatSLRHtKNngkdXEeobR76b53LETtpyT")]),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", [("crypto", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")]),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", []),
    ("DNI 12345678Z", [("national_id", "12345678Z")]),
    ("DNI 12345678A", []),
    ("CPF 111.444.777-35", [("national_id", "111.444.777-35")]),
    ("PESEL 44051401359", [("national_id", "44051401359")]),
    ("RSSMRA85T10A562S", [("national_id", "RSSMRA85T10A562S")]),
    ("order number 4155552671", []),
    ("EPP: +1.4155552671", [("phone", "+1.4155552671")]),
    ('{"value": 0.41442451883910536, "at": "2024-03-18T00:56:09.249067"}', []),
    ("[6.515929727227629, 397.0078551871341, 9.179583799504563, 4.111111111111111e-05]", []),
    ('<path d="M14.024 15.631 5.88 2.016 21.872 19.096 20.445z"/>', []),
    ("-6.0074 -3.4210 -3.6687 87.12 -5.0022 -7.7144", []),
    ("0034528c: 617b a26a 3ea5 7df6 0150 5781 c4ee aa90", []),
    ("pip install tool==6.12.1.2", []),
    ('ip == "6.12.1.2"', [("ip", "6.12.1.2")]),
    ("call 0171 123 45 67 at 10:30", [("phone", "0171 123 45 67")]),
]


@pytest.mark.parametrize(("text", "expected"), PII)
def test_personal_data(text, expected):
    assert found(Pii(), text) == expected


def test_a_number_with_a_wrong_checksum_is_none():
    assert found(Pii(entities=["iban", "card"]), "DE89 3704 0044 0532 0130 02") == []


def test_entities_that_are_not_asked_for_are_left():
    assert found(Pii(entities=["email"]), "a@b.co 4111 1111 1111 1111") == [("email", "a@b.co")]
    with pytest.raises(ValidationError):
        Pii(entities=["name"])


SECRETS = [
    ("key AKIAIOSFODNN7EXAMPLQ ok", ["aws_access_key_id"]),
    ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", ["github_token"]),
    ("xoxb-123456789012-abcdefGHIJKL", ["slack_token"]),
    ("password = 'hG7!kq92Lz'", ["assigned"]),
    ("password = getpass()", []),
    ("api_key: your_api_key_here", []),
    ("token = self.token", []),
    ("the password policy is strict", []),
    ("postgres://root:pAgVW9hRxOC3v9vO@db.internal/prod", ["url_password"]),
    ("Authorization: Bearer kQ7vLm2xRt9ZpW4sBn8d", ["bearer_authorization"]),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----", ["private_key_block"]),
    ("PASWD := FlUgeGeHeIm09", ["assigned"]),
    ("reach me (pw:IhqSb1Gg)", ["assigned"]),
    ("Secret Key: AIhq5Xyb1Gga9Q", ["assigned"]),
    ('#define PASSWORD "n84ASM54y4"', ["quoted"]),
    ("define('PASSWORD', '2Arh5dA1Sn0yw')", ["quoted"]),
    ('def connect(passwd: str = "cq2tPr1a2"):', ["quoted"]),
    ('if password == "q4C1a2oPd":', ["quoted"]),
    ('print("password", "field1")', []),
    ('labels = {"token", "Column B"}', []),
    ("<db:password>hG7!kq92Lz</db:password>", ["element"]),
    ("<password>your password here</password>", []),
    ("mysql -u root --password Sne3sd8AZjq", ["option"]),
    ("tool --password-file secrets/password.txt", []),
    ("tool --token-count 1000000", []),
    ("openssl x509 -passin file:dkajco1 -sha256", []),
    ("CREATE ROLE app LOGIN PASSWORD 'SqLpa5sW0rD';", ["quoted"]),
    ("ALTER USER x IDENTIFIED BY SqLpa5sW0rD;", ["sql_password"]),
    ("curl -u admin:dG9rZW4g https://x.example", ["curl_user_password"]),
    ("smtps://me@gmail.com:FnD83JZs@smtp.gmail.com:465", ["basic_url_user"]),
    ("0123abcd4567ef890123abcd4567ef89-0a1b2c3d-4e5f6a7b", ["mailgun_signing_key"]),
    ('{"kty": "EC", "d": "slaQxyHQPudOpq2mbDskum8rOu9IMkLGjINAFWwfqr8"}', ["json_web_key_private"]),
    ("commit ced5734080b4ae977dad36df05afe36359d4f45c", []),
    ("id 550e8400-e29b-41d4-a716-446655440000", []),
    ("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", []),
]


@pytest.mark.parametrize(("text", "expected"), SECRETS)
def test_secrets(text, expected):
    assert [category for category, _ in found(Secrets(), text)] == expected


@pytest.mark.parametrize(
    "text", ["glwt-G9dr9LJjGiSfBdxzDVyHi7vSdDcAftOmJ", "sq0csp-ST2dsfwyVI7Ydj343EY72hb48ehKQINMST2dsfwyVIa"]
)
def test_a_token_is_cut_whole_where_its_format_has_parts(text):
    assert [value for _, value in found(Secrets(), f"it is {text} here")] == [text]


def test_no_format_cuts_out_a_part_by_accident():
    """A group in a pattern is what is cut out; only formats that are written here have one."""
    document = json.loads(files("gateway.checks").joinpath("data/secrets.json").read_text())
    for rule in document["rules"]:
        if rule["source"] == "credsweeper":
            assert re2.compile(rule["pattern"]).groups == 0, rule["name"]


def test_a_secret_is_cut_where_it_stands_and_not_its_name():
    assert found(Secrets(), "password = 'hG7!kq92Lz';") == [("assigned", "hG7!kq92Lz")]
    assert found(Secrets(), "see postgres://root:pAgVW9hRxOC3v9vO@db/prod") == [("url_password", "pAgVW9hRxOC3v9vO")]


def test_the_rules_are_many_and_named():
    assert len(rules()) >= 200
    assert found(Secrets(rules=["github_token"]), "password = 'hG7!kq92Lz'") == []
    assert (
        found(
            Secrets(**{"except": ["ghp_16C7e42F292c6912E7710c838347Ae178B4a"]}),
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        )
        == []
    )
    with pytest.raises(ValidationError, match="did you mean 'github_token'"):
        Secrets(rules=["github_tokn"])
    assert entropy("aaaa") == 0
    assert entropy("abcd") == 2


URLS = [
    ({}, "see https://example.com/a?b=c.", []),
    ({"allow": ["example.com"]}, "see https://docs.example.com/a and http://evil.org/x", ["http://evil.org/x"]),
    ({"allow": ["example.com"]}, "https://example.com.evil.org/", ["https://example.com.evil.org/"]),
    ({"allow": ["example.com"]}, "https://example.com@evil.org/", ["https://example.com@evil.org/"]),
    ({"deny": ["evil.org"]}, "go to evil.org or a.evil.org/x", ["evil.org", "a.evil.org"]),
    ({}, "javascript:alert(1)", ["javascript:alert(1)"]),
    ({}, "http://192.168.1.1/admin", ["http://192.168.1.1/admin"]),
    ({}, "http://3232235777/", ["http://3232235777/"]),
    ({}, "https://xn--pple-43d.com/", ["https://xn--pple-43d.com/"]),
    ({}, "https://gооgle.com/", ["https://gооgle.com/"]),
    ({}, "![x](https://ok.example/p.png?d=1)", ["https://ok.example/p.png?d=1"]),
    ({"allow": ["ok.example"]}, "![x](https://ok.example/p.png)", []),
    ({"images": "allow"}, "![x](https://ok.example/p.png)", []),
    ({"allow": ["ok.example"]}, '<img src="//evil.example/x.png">', ['<img src="//evil.example/x.png']),
    ({"allow": ["ok.example"]}, "[a](//evil.example/x)", ["//evil.example/x)"]),
    ({}, "write to mailto:a@b.co", []),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "text", "expected"), URLS)
def test_links(settings, text, expected):
    assert [text for _, text in found(Urls(**settings), text)] == expected


@pytest.mark.parametrize(
    ("text", "hits"),
    [("pl\u200bain", 1), ("a\u202eb", 1), ("a\U000e0041\U000e0042b", 1), ("a\x07b", 1), ("line\n\ttab\r\n", 0),
     ("👨\u200d👩\u200d👧 ❤\ufe0f", 0), ("\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 0),
     ("ad\u200dmin", 1), ("می\u200cخواهم", 0)],
)  # fmt: skip
def test_invisible_characters(text, hits):
    assert len(found(Invisible(), text)) == hits


CHECKS = [Pii(), Secrets(), Urls(allow=["example.com"], deny=["evil.org"]), Invisible(), Code(), Refusal()]
PIECES = [text for text, _ in PII] + [text for text, _ in SECRETS] + [text for _, text, _ in URLS] + [
    "a\u200bb", " ", ", ", "\n", "and ", "no. ", "é", "card 4111", "I cannot help", "rm -rf /", "drop ", "table", " 1111 1111", " 1111", "AKIA", "://", "@", "x"]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)


@many
@given(st.sampled_from(CHECKS), texts, st.lists(st.integers(0, 400), max_size=8))
def test_in_pieces_they_find_what_they_find_in_the_whole(check, text, cuts):
    """And no character before what they call safe ever belongs to a hit that was not told yet."""
    whole = {(s.start, s.end) for s in check.find([Passage("p", Place.USER, text)]).spans}
    bounds = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    scanner, told, safe = check.scanner(settled=True), set(), 0
    for start, end in itertools.pairwise(bounds):
        scan = scanner.feed(text[start:end])
        assert all(hit.start >= safe for hit in scan.hits)
        told |= {(hit.start, hit.end) for hit in scan.hits}
        assert scan.safe >= safe
        safe = scan.safe
    last = scanner.end()
    assert all(hit.start >= safe for hit in last.hits)
    assert told | {(hit.start, hit.end) for hit in last.hits} == whole
    assert check.follows


# --- what dense hits cost ------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted), max_size=25))
def test_outermost_keeps_what_no_kept_one_holds(spans):
    outermost, kept = Outermost(), []
    for start, end in spans:
        held = any(a <= start and end <= b for a, b in kept)
        assert outermost.keeps(start, end) == (not held)
        if not held:
            kept.append((start, end))


@given(st.text("aé漢😀\n", max_size=12), st.data())
def test_places_of_bytes_are_places_of_characters(text, data):
    encoded = Encoded(text)
    for place in data.draw(st.lists(st.integers(0, len(text)), max_size=8)):
        byte = encoded.byte(place)
        assert encoded.data[:byte].decode() == text[:place]
        assert encoded.character(byte) == place
        assert encoded.next(byte) == byte


@pytest.mark.parametrize("word", ["bob@example.org ", "bob@example.org é"])
def test_a_text_of_nothing_but_hits_is_encoded_once_and_not_for_each_of_them(word, monkeypatch):
    """RE2 reads bytes: a text that is encoded for each match costs the square of its length."""
    made = []
    encode = Encoded.__init__
    monkeypatch.setattr(Encoded, "__init__", lambda self, text: (made.append(len(text)), encode(self, text))[1])
    judged = Pii().find([Passage("p", Place.USER, word * 2000)])
    assert len(judged.spans) == 2000
    assert sum(made) < 10 * len(word) * 2000
