"""The pages of Prefect's UI, as a person uses them."""

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


class Pages:
    """A browser on one server's pages."""

    def __init__(self, page, address):
        self.page = page
        self.address = address

    def open(self, path, text):
        """Go to a page and wait until a text is on it."""
        self.page.goto(f"{self.address}{path}", wait_until="domcontentloaded")
        self.page.get_by_text(text).first.wait_for(timeout=180_000)

    def open_artifact(self, run, key, text):
        """What a run has left, through the run's page as a person gets there."""
        self.open(f"/runs/flow-run/{run}", "Completed")
        self.page.locator(".p-tabs").get_by_text("Artifacts", exact=True).first.click()
        self.page.get_by_role("link", name=key).first.click()
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
        place = self.field(label).locator("textarea, input").first
        place.fill(str(value))
        place.blur()

    def choose(self, label, value):
        """Take one of a field's choices, by the keyboard."""
        control = self.field(label).locator(".p-select-button__control")
        control.focus()
        marked = self.page.locator(".p-select-option--highlighted")
        for _ in range(100):
            control.press("ArrowDown")
            self.page.wait_for_timeout(150)  # on a busy machine it is drawn a moment later
            if marked.count() and marked.first.inner_text().strip() == value:
                control.press("Enter")
                return
        raise AssertionError(f"{label} has no choice {value!r}")

    def submit(self):
        """Send the form, once it has taken what was written last: on a busy machine that is a moment later."""
        self.page.wait_for_timeout(1000)
        self.page.locator("button[type=submit]").click()
