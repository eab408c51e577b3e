"""The pages of Prefect's UI, as a person uses them."""

import json
import time
import urllib.request

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Pages:
    """A browser on one server's pages."""

    def __init__(self, page, address):
        self.page = page
        self.address = address

    def api(self, path, body=None):
        """What the server says."""
        data = json.dumps(body or {}).encode()
        request = urllib.request.Request(f"{self.address}/api{path}", data=data, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def run_of(self, state, name, seconds=120):
        """The newest run of a deployment once it is in a state."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = self.api("/flow_runs/filter", {"deployments": {"name": {"any_": [name]}}, "sort": "EXPECTED_START_TIME_DESC"})
            if found and found[0]["state"]["name"] == state:
                return found[0]
            self.page.wait_for_timeout(500)
        raise AssertionError(f"no run of {name} became {state}: {[(run['name'], run['state']) for run in found]}")

    def open(self, path, text):
        """Go to a page and wait until a text is on it."""
        self.page.goto(f"{self.address}{path}", wait_until="domcontentloaded")
        self.page.get_by_text(text).first.wait_for(timeout=180_000)

    def open_form(self, name):
        """A deployment's form, through the list of deployments as a person gets there."""
        self.open("/deployments", name)
        self.page.get_by_role("link", name=name, exact=True).first.click()
        self.page.get_by_role("button", name="Run", exact=True).first.click()
        self.page.get_by_text("Custom run").first.click()
        self.page.locator(".schema-form-property__label").first.wait_for(timeout=180_000)

    def field(self, label):
        """A field of a form by its label, without its (Optional)."""
        named = " or ".join(f'normalize-space(.)="{name}"' for name in (label, f"{label} (Optional)"))
        span = f'//span[contains(@class,"schema-form-property__label")][{named}]'
        return self.page.locator(f'{span}/ancestor::div[contains(concat(" ",@class," ")," schema-form-property ")][1]').first

    def fill(self, label, value):
        """Write into a field."""
        self.field(label).locator("textarea, input").first.fill(str(value))

    def choose(self, label, value):
        """Take one of a field's choices, by the keyboard."""
        control = self.field(label).locator(".p-select-button__control")
        control.focus()
        for _ in range(60):
            control.press("ArrowDown")
            marked = self.page.locator(".p-select-option--highlighted")
            if marked.count() and marked.first.inner_text().strip() == value:
                control.press("Enter")
                return
        raise AssertionError(f"{label} has no choice {value!r}")

    def submit(self):
        """Send the form."""
        self.page.locator("button[type=submit]").click()
