"""Documents that hold a marker at one path of OpenAI's specification and nowhere else."""

import json
import re
from pathlib import Path

MARKER = "FORBIDDEN-7Q"
PATHS = json.loads(Path(__file__).with_name("openai_paths.json").read_text())["schemas"]


def steps_of(path):
    return re.findall(r"\[\]|\*|[^.\[\]$ ]+", path.split("  ")[0])


def planted(path, marker=MARKER):
    value = marker
    for step in reversed(steps_of(path)):
        value = [value] if step == "[]" else {"name_of_mine" if step == "*" else step: value}
    return value


def merged(base, extra):
    """Both documents in one; where both have a value, what was planted wins."""
    if isinstance(base, dict) and isinstance(extra, dict):
        return {
            k: merged(base[k], extra[k]) if k in base and k in extra else base.get(k, extra.get(k))
            for k in {**base, **extra}
        }
    if isinstance(base, list) and isinstance(extra, list) and base and extra:
        return [merged(base[0], extra[0]), *base[1:]]
    return extra
