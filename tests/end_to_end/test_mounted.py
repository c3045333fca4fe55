"""A folder as Kubernetes mounts it: every name is a link through `..data`, and one move of that changes them all."""

import asyncio

from tests.end_to_end.process import Fake, Gateway
from tests.end_to_end.test_reload import answers, ready, said, status

POLICY = "policy: p\nchecks: {words: {use: keywords, files: [words.txt], at: input}}\n"


def mount(folder, number, files):
    """The files, put in the place of those before as the kubelet does it."""
    data = folder / f"..{number}"
    data.mkdir(parents=True)
    for name, text in files.items():
        (data / name).write_text(text)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").rename(folder / "..data")


async def test_a_config_map_that_changes_takes_effect(tmp_path):
    policies = tmp_path / "policies"
    mount(policies, 1, {"p.yaml": POLICY, "words.txt": "apple\n"})
    async with Fake(answers) as fake:
        with Gateway(tmp_path, fake.house, policies=policies) as gateway:
            assert (await status(gateway, "apple"), await status(gateway, "pear")) == (400, 200)
            first = (await asyncio.to_thread(ready, gateway))["policies"]
            mount(policies, 2, {"p.yaml": POLICY, "words.txt": "pear\n"})
            await said(gateway, lambda told: told["policies"] != first or "refused" in told)
            assert (await status(gateway, "apple"), await status(gateway, "pear")) == (200, 400)
