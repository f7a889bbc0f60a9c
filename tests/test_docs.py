"""The documentation: what its pages say is done, top to bottom; their links lead somewhere, their settings exist."""

import re
import shutil
from pathlib import Path

import pytest

from questd import __main__, metrics
from questd.settings import Settings, variable
from tests.stories import ROOT, Reader, blocks

PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
]
EXAMPLES = sorted((ROOT / "examples").glob("*/README.md"))

TOOLS = ("curl", "jq", "openssl", "redis-cli", "redis-server")

READ = ("internals", "migrate-from-elasticmq", "migrate-from-localstack", "production", "tune")
"""Pages that can be done from top to bottom."""

STORIES = {"README.md", "clients.md", "test-your-code.md"}
"""Pages with stories that tests run one by one (test_readme.py, test_newcomer.py)."""

OTHERS = {
    "--read-only": "docker",
    "--tmpfs": "docker",
    "--profile": "docker compose",
    "--rdb": "redis-cli",
    "--cacert": "curl",
    "--endpoint-url": "aws",
}
"""Flags of other programs, in the text of a page."""


def name(page: Path) -> str:
    """Return what a page is called in the name of a test."""
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", READ)
def test_a_page_can_be_done(page: str, tmp_path: Path) -> None:
    """Each command of a page does what it says, in the order in which it is read."""
    if missing := [tool for tool in TOOLS if not shutil.which(tool)]:
        pytest.skip(f"{' and '.join(missing)} not installed")
    with Reader(tmp_path) as reader:
        reader.read(ROOT / "docs" / f"{page}.md")


def test_every_command_is_run() -> None:
    """A block of commands is on a page that is done, is a story, or says why no test can run it."""
    done = {f"{page}.md" for page in READ}
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh" and page.name not in done:
                assert page.name in STORIES, page
                assert block.mark.partition(": ")[0] in {"story", "elsewhere"}, (page, block)


def anchors(page: Path) -> set[str]:
    """Return what a link to a heading of a page ends with, as GitHub has it."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES], ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link within the checkout is to a file that is there, and to a heading that it has."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not link.startswith("https://"):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


def test_every_page_is_found() -> None:
    """The README links to each page of docs/ and each example."""
    readme = (ROOT / "README.md").read_text()
    for page in (*(ROOT / "docs").glob("*.md"), *(each.parent for each in EXAMPLES)):
        assert f"({page.relative_to(ROOT)}" in readme, page


def flags() -> set[str]:
    """Return every flag of every command."""
    parser = __main__._parser()
    [commands] = [action for action in parser._actions if action.dest == "COMMAND" or action.choices]
    assert isinstance(commands.choices, dict)
    return {flag for command in commands.choices.values() for flag in command._option_string_actions}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_exist(page: Path) -> None:
    """Each flag in the text is one of questd's, or known to be another program's; each QUESTD_ variable is a setting."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`[^`\n]*?(?<![\w-])(--[a-z][a-z-]+)", text)) <= flags() | OTHERS.keys()
    known = {variable(setting) for setting in Settings.model_fields} | {"QUESTD_ENDPOINT"}
    assert set(re.findall(r"\bQUESTD_[A-Z_]+\b", page.read_text())) <= known


def test_metrics_exist() -> None:
    """Each metric that a page names is one that /metrics has."""
    source = Path(metrics.__file__).read_text()
    for page in PAGES:
        for metric in re.findall(r"\bquestd_[a-z_]+", page.read_text()):
            stem = metric.removesuffix("_total")
            short = re.sub("^questd_(queue_)?", "", stem)
            assert f'"{stem}"' in source or f'"{short}"' in source, metric
