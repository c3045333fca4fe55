"""Code: fenced blocks by their language, SQL statements by what they do, shell commands, scripts in HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from gateway.checks.finding import Finding

Class = Literal["fence", "sql_write", "sql_read", "shell", "html_script"]
PATTERNS: dict[str, Sequence[str]] = {
    "fence": [r"```[ \t]?([A-Za-z0-9+#._-]{1,24})[ \t]*\r?\n"],
    "sql_write": [
        (
            r"(?i:\b(?:drop\s+(?:table|database|schema|view|index|user)|truncate\s+table|delete\s+from|alter\s+(?:table|user)|"
            r"insert\s+into|update\s+[\w.\"`]{1,64}\s+set|grant\s+[\w, ]{1,80}\s+(?:on|to)|revoke\s+[\w, ]{1,80}\s+(?:on|from)|"
            r"create\s+(?:user|table|database))\b)"
        )
    ],
    "sql_read": [r"(?i:\bselect\s[^;]{1,300}?\sfrom\s+[\w.\"`\[]{1,64}|\bunion\s+(?:all\s+)?select\b)"],
    "shell": [
        (
            r"(?:\brm\s+-[a-zA-Z]*[rf][a-zA-Z]*\s+[~/.$*\w]|\bmkfs(?:\.\w+)?\s|\bdd\s+if=|:\(\)\s?\{\s?:\|:&\s?\};:|"
            r"\b(?:curl|wget)\s[^\n|]{1,300}\|\s?(?:sudo\s+)?(?:ba|z|da)?sh\b|\bchmod\s+(?:-R\s+)?777\s|\bsudo\s+\w|"
            r"\bnc\s+-[a-z]*e\s|/dev/tcp/|\bpowershell(?:\.exe)?\s+-|(?i:\bInvoke-Expression\b|\biex\s?\())"
        )
    ],
    "html_script": [
        r"(?i:<script\b|<iframe\b|\bon(?:error|load|click|mouseover|focus)\s?=\s?[\"'a-z]|<svg\b[^>]{0,200}\bon|srcdoc\s?=|<object\b|<embed\b)"
    ],
}


class Code(Finding):
    """A hit where code of a denied class or in a language that is not allowed stands."""

    use: Literal["code"] = "code"
    deny: list[Class] = Field(["sql_write", "shell", "html_script"], description="classes of code that are hits")
    languages: list[str] | None = Field(None, description="of fenced blocks that are allowed; all others are hits")

    @model_validator(mode="after")
    def _something(self) -> Code:
        if not self.deny and self.languages is None:
            raise ValueError("give 'deny' or 'languages'")
        return self

    def patterns(self) -> Sequence[tuple[str, str]]:
        wanted = list(self.deny)
        if self.languages is not None and "fence" not in wanted:
            wanted.append("fence")
        return [(name, pattern) for name in wanted for pattern in PATTERNS[name]]

    def accepts(self, category: str, text: str) -> bool:
        if category != "fence" or self.languages is None:
            return True
        return re.sub(r"\s", "", text).lower() not in {language.lower() for language in self.languages}
