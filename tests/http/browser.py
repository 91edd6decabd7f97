"""A browser, as far as the pages of the server need one."""

from html.parser import HTMLParser

import requests

SECONDS = 60


class Page(HTMLParser):
    """What a browser makes of a page: its text, its form, and the names of its elements."""

    def __init__(self, answer: requests.Response) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.elements: set[str] = set()
        self.text = ""
        self.feed(answer.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        said = dict(attrs)
        if tag == "input":
            self.fields[said["name"] or ""] = said.get("value") or ""

    def handle_data(self, data: str) -> None:
        self.text += data


class Browser(requests.Session):
    """A browser with the page of a login open."""

    def __init__(self, address: str, **headers: str) -> None:
        super().__init__()
        self.address = address
        self.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        self.answer = self.get(address, timeout=SECONDS)
        self.page = Page(self.answer)

    def submit(self, user: str, password: str, **fields: str) -> requests.Response:
        form = {**self.page.fields, "user": user, "password": password, **fields}
        return self.post(self.address, data=form, timeout=SECONDS, allow_redirects=False)
