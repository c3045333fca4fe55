"""Makes `gateway/checks/data/secrets.json` from two sources: a rule set under MIT, and formats that vendors document.

    python tools/secret_rules.py RULES.yaml

RULES.yaml is `credsweeper/rules/config.yaml` of CredSweeper (Samsung, MIT). Its patterns are for Python's engine; here
each becomes one for RE2: what stands for the value is kept, conditions around it become word borders. Rules without a
format of their own (passwords by their names, random strings) are left to the kind's own rules.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import re2
import yaml

HERE = Path(__file__).parent
TARGET = HERE.parent / "gateway" / "checks" / "data" / "secrets.json"
LEFT_OUT = {
    "UUID", "Product Activation Key", "AWS Multi", "Alibaba Multi", "Twilio Multi", "JSON Web Key", "JWK",
    "Firebase Domain", "AWS S3 Bucket", "Dropbox App secret", "OTP / 2FA Secret", "Tencent WeChat API App ID",
    "Facebook App Token", "MailGun API Key", "Google Multi", "Grafana Provisioned API Key", "Azure Access Token",
    "BASE64 Private Key", "NKEY Seed", "Composio Credentials", "Salesforce Credentials", "Basic Authorization",
    "Bearer Authorization", "URL Credentials", "SQL Password", "CURL Options", "Jira / Confluence PAT token",
    "Dropbox API secret (long term)", "DOC_GET", "DOC_CREDENTIALS", "Github Classic Token", "DeepSeek API Key",
}  # fmt: skip
LONG = re.compile(r"\{(\d+),\d{3,}\}")
GROUP = re.compile(r"(\\.|\[(?:\\.|[^\]\\])*\])|\((?!\?)")  # escapes and classes aside: what would be cut out alone
SHORTER = 64  # a count above this is cut: what follows belongs to the token anyway


def value_of(pattern: str) -> str | None:
    """The group called `value`, braces balanced."""
    start = pattern.find("(?P<value>")
    if start < 0:
        return None
    depth, place, inside = 0, start, False
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 2
            continue
        if character in "[]":
            inside = character == "["
        elif not inside and character in "()":
            depth += 1 if character == "(" else -1
            if depth == 0:
                return pattern[start + 10 : place]
        place += 1
    return None


def counted(match: re.Match[str]) -> str:
    return f"{{{min(int(match[1]), SHORTER)},}}"


def rule_of(raw: dict[str, object]) -> dict[str, str] | None:
    values = raw["values"]
    assert isinstance(values, list)
    value = value_of(str(values[0]))
    if raw["type"] != "pattern" or raw["name"] in LEFT_OUT or value is None or "(?" in value.replace("(?:", ""):
        return None
    value = GROUP.sub(lambda m: m[1] or "(?:", LONG.sub(counted, value))
    value = re.sub(r"\{(\d+)\}", lambda m: f"{{{m[1]}}}" if int(m[1]) <= SHORTER else f"{{{SHORTER},}}", value)
    begins = r"\b" if re.match(r"[\[(A-Za-z0-9_]", value) else ""
    name = re.sub(r"[^a-z0-9]+", "_", str(raw["name"]).lower()).strip("_")
    return {"name": name, "pattern": f"{begins}(?:{value})"}


def main() -> None:
    raw = yaml.safe_load(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rules = [rule for one in raw if (rule := rule_of(one)) is not None]
    for rule in rules:
        rule["source"] = "credsweeper"
    own = yaml.safe_load((HERE / "secret_formats.yaml").read_text(encoding="utf-8"))
    known = {rule["name"] for rule in own}
    rules = [rule for rule in rules if rule["name"] not in known]
    rules += [{**rule, "source": "documented"} for rule in own]
    for rule in rules:
        re2.compile(rule["pattern"])
    document = {
        "about": "Formats of tokens and keys. Source 'credsweeper': CredSweeper, Copyright (c) Samsung, MIT licence, "
        "https://github.com/Samsung/CredSweeper, its patterns rewritten for RE2. Source 'documented': as the vendors "
        "document their tokens. Made by tools/secret_rules.py.",
        "rules": sorted(rules, key=lambda rule: rule["name"]),
    }
    TARGET.write_text(json.dumps(document, indent=1) + "\n")
    print(len(rules), "rules")


if __name__ == "__main__":
    main()
