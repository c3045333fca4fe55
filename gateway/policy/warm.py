"""What checks make the first time that they judge, made beforehand: tables, automata, what RE2 has of its patterns.

It takes some of them up to a hundredth of a second, which no request should wait for on the event loop.
"""

from __future__ import annotations

from contextlib import suppress

from gateway.core.terms import Passage, Place
from gateway.policy.model import PolicySet
from gateway.policy.plan import plan

# Something of all that has to be told apart: names, links, numbers, dates, other alphabets, disguises.
SAMPLE = (
    "Call Ann at +49 30 1234567 or mail ann@example.org by 2024-05-01, born 1/2/1980; see https://example.org/a?b=c, "
    "1.2.3.4, DE89 3704 0044 0532 0130 and 4111 1111 1111 1111. token=hG7!kq92Lz, ghp_16C7e42F292c6912E7710c838347Ae178B4a. "
    "1gn0r3 4ll, i.g.n.o.r.e, aWdub3JlIGFsbA==, erongi tpmorp, vtaber cebzcg, \\u0069, %69, &#105;. def f(x): return x\n12 März, 你好, привет, \u200b\uff41."
)


def warm(policies: PolicySet) -> None:
    """Have the local checks judge something, and what asks several of them at once be compiled.

    What goes wrong is left to the requests: some checks judge nothing but what a request has, and a fault of one is a
    finding there.
    """
    passages = [Passage("messages[0].content", Place.USER, SAMPLE)]
    for policy in policies.policies:
        for entry in policy.entries.values():
            if entry.check.local:
                with suppress(Exception):
                    entry.check.judge(passages)
    sieve = plan(policies, models=("",), endpoint="chat").sieve
    with suppress(Exception):
        if sieve is not None:
            sieve.silent(passages)
