"""The pages carry all that they need, and nothing that came from outside as markup."""

from __future__ import annotations

import re

import httpx
import pytest

from edge.console.pages import STATIC
from tests.console.fake_desk import FakeDesk


async def test_the_page_speaks_the_sites_language_unless_asked(http: httpx.AsyncClient) -> None:
    assert '<html lang="zh">' in (await http.get("/")).text
    assert '<html lang="en">' in (await http.get("/?lang=en")).text
    assert (await http.get("/?lang=%22><script>")).status_code == 422


async def test_every_file_of_a_page_is_served_by_us(http: httpx.AsyncClient) -> None:
    for page in ("/", "/api/docs", "/incidents/INC-000001"):
        text = (await http.get(page)).text
        wanted = re.findall(r'(?:src|href)="(/static/[^"]+)"', text)
        assert len(wanted) >= 3
        for path in wanted:
            assert (await http.get(path)).status_code == 200, path
    for script in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./([^"]+)"', script.read_text()):
            answer = await http.get(f"/static/{name}")
            assert answer.headers["content-type"].startswith("text/javascript"), name


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_is_fetched_from_elsewhere(file: object) -> None:
    text = STATIC.joinpath(str(file)).read_text()
    assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert "innerHTML" not in text
    assert "insertAdjacentHTML" not in text
    assert " style=" not in text  # the content security policy would drop it


def test_every_word_that_the_page_uses_is_in_both_languages() -> None:
    words = (STATIC / "words.js").read_text()
    known = set(re.findall(r"(\w+): \[\"[^\"]+\", \"[^\"]+\"\]", words))
    used = {word for page in STATIC.glob("*.html") for word in re.findall(r'data-t="(\w+)"', page.read_text())}
    for script in ("main.js", "equipment.js", "links.js", "incidents.js", "incident.js"):
        used |= set(re.findall(r'\bt\("(\w+)"\)', (STATIC / script).read_text()))
    assert used - known == set()


async def test_a_file_that_is_known_is_not_sent_again(http: httpx.AsyncClient) -> None:
    first = await http.get("/static/style.css")
    again = await http.get("/static/style.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/static/index.html", "/static/../api.py", "/static/%2e%2e/api.py", "/x"])
async def test_other_files_are_not_served(http: httpx.AsyncClient, path: str) -> None:
    assert (await http.get(path)).status_code == 404


async def test_an_english_site_has_an_english_page() -> None:
    from edge.console.api import build_app

    transport = httpx.ASGITransport(build_app(FakeDesk(language="en")))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert '<html lang="en">' in (await client.get("/")).text
