"""What is made the first time that a check judges is made before a request is there."""

import pytest

from gateway.checks.judge import Judge
from gateway.checks.keywords import Keywords
from gateway.checks.sieve import CommonSieve
from gateway.core.terms import Judgement
from gateway.policy.load import load_policies
from gateway.policy.plan import plan
from gateway.policy.warm import warm

POLICY = """\
policy: p
checks:
  secrets: {at: [input, output]}
  words: {use: keywords, words: [x]}
  pii: {at: output}
  tools: {allow: [search]}
  form: {use: json_schema, schema: declared, at: output}
  leak: {use: prompt_leak}
  harm: {use: judge, model: m, at: input}
"""


@pytest.mark.parametrize("error", [None, ValueError("on a text that it cannot judge")])
def test_each_local_check_judges_once_and_what_asks_several_is_compiled(tmp_path, monkeypatch, error):
    (tmp_path / "p.yaml").write_text(POLICY)
    policies = load_policies(tmp_path)
    judged = []

    def judge(self, passages):
        judged.append(self.use)
        if error is not None:
            raise error
        return Judgement(hit=False)

    monkeypatch.setattr(Keywords, "judge", judge)
    monkeypatch.setattr(Judge, "judge", judge)
    sieve = plan(policies, models=("",), endpoint="chat").sieve
    assert not sieve.ready
    warm(policies)
    assert judged == ["keywords"]  # a judge would ask a model
    assert sieve.ready


def test_whatever_goes_wrong_is_left_to_the_requests(tmp_path, monkeypatch):
    def broken(*_):
        raise RecursionError

    (tmp_path / "p.yaml").write_text(POLICY)
    policies = load_policies(tmp_path)
    monkeypatch.setattr(CommonSieve, "silent", broken)
    monkeypatch.setattr(Keywords, "judge", broken)
    warm(policies)
