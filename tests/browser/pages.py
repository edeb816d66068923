#!/usr/bin/env python3
"""The pages in a real browser, as each role.

    pages.py URL CHECK [--folder DIR] [--shots DIR] [--program FILE]

URL is that of a demonstration's server; the check `again` starts its own with FILE, and takes any text for it. CHECK is the
name of one check below, without `check_`. It needs selenium, the file axe.min.js of the package axe-playwright-python,
chromium and chromedriver. What is wrong is told one fault a line, and the exit code is 1 then.
"""

import argparse, base64, json, os, pathlib, random, shutil, socket, subprocess, sys, tempfile, time, urllib.error
import urllib.request

import axe_playwright_python
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import WebDriverWait

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
CUSTOMER, ASKING, ERASED, STRANGER = "customer-417", "customer-101", "customer-388", "customer-512"
CUSTOMER_PAGES = ["/me", "/me/sharing", "/me/timeline", "/me/recipients/mailhouse.example", "/me/choices", "/me/requests",
                  "/me/proof", "/me/download/report"]
OFFICER_PAGES = ["/officer", "/officer/findings", "/officer/recipients"]
OPEN_PAGES = ["/", "/auditor", "/signin", "/verifier.html", "/no-such-page"]
SIZES = [(320, 740), (768, 1024), (1280, 900)]
DEMO_REMARK = "This is a demonstration"


class Browser:
    """One browser, signed in as one role."""

    def __init__(self, url, who=None, scripts=True, dark=False):
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium")
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                         "--force-prefers-reduced-motion"]:
            options.add_argument(argument)
        if dark:
            options.add_argument("--force-dark-mode")
            options.add_argument("--blink-settings=preferredColorScheme=0")
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.url, self.faults = url, []
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)
        if dark:
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
        if who:
            self.sign_in(who)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.driver.quit()

    def fault(self, text):
        self.faults.append(text)

    def go(self, path):
        self.driver.get(self.url + path)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self):
        return self.one("body").text

    def sign_in(self, who):
        """By the issuer's page, as a person would."""
        self.go("/signin?to=/")
        for way in [f"[data-who='{who}']", f"button[value='{who}']", f"a[href*='{who}']"]:
            found = self.all(way)
            if found:
                found[0].click()
                self.wait(lambda _: "/demo/issuer" not in self.driver.current_url, "the issuer leads back")
                return
        raise SystemExit(f"the issuer's page offers no {who}: {self.text()}")

    def wait(self, is_so, what, seconds=20):
        try:
            WebDriverWait(self.driver, seconds, poll_frequency=0.1).until(lambda driver: is_so(driver))
        except Exception:
            raise SystemExit(f"waited in vain: {what}; the page at {self.driver.current_url} says:\n{self.text()}")

    def resize(self, width, height):
        # Headless windows have a least width; the metrics of the device have none.
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def look(self, path, shots=None, name=""):
        """All that holds for every page."""
        for width, height in SIZES:
            self.resize(width, height)
            self.go(path)
            wide = self.driver.execute_script(
                "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
            if wide > 0:
                self.fault(f"{path} at {width} px: {wide} px too wide")
            if shots:
                tall = self.driver.execute_script("return document.documentElement.scrollHeight")
                self.resize(width, min(tall, 6000))
                file = f"{name}{path.strip('/').replace('/', '_') or 'start'}-{width}.png"
                self.driver.save_screenshot(str(shots / file))
                self.resize(width, height)
        self.accessible(path)
        headings = len(self.all("h1"))
        if headings != 1:
            self.fault(f"{path}: {headings} headings of the first level")

    def accessible(self, path):
        self.driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True})
        self.driver.execute_script(AXE)
        found = self.driver.execute_async_script(
            "const done = arguments[0]; axe.run(document, {runOnly: ['wcag2a','wcag2aa','wcag21a','wcag21aa','wcag22aa',"
            "'best-practice']}).then(r => done(r.violations), e => done([{id: String(e), nodes: []}]))")
        for one in found:
            places = "; ".join(" ".join(map(str, node["target"])) for node in one["nodes"][:3])
            self.fault(f"{path}: {one['id']}: {one.get('help', '')}: {places}")

    def console(self, path):
        """What the browser complained about, but for the page that is not there."""
        for entry in self.driver.get_log("browser"):
            if entry["level"] == "SEVERE" and "404" not in entry["message"]:
                self.fault(f"{path}: {entry['message']}")

    def strangers(self):
        """Requests to any other host."""
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                asked = message["params"]["request"]["url"]
                if not asked.startswith((self.url, "data:", "chrome", "blob:", "about:")):
                    self.fault(f"asked another host: {asked}")


def fetch(url, token=None, data=None, media="application/json"):
    """Status and text of an answer."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    if data is not None:
        headers["Content-Type"] = media
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=data, headers=headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def token(url, who):
    return fetch(f"{url}/demo/token/{who}")[1].strip()


def service(url):
    return fetch(f"{url}/demo/service-token")[1].strip()


def until(is_so, what, seconds=90):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if is_so():
            return
        time.sleep(0.5)
    raise SystemExit(f"waited in vain: {what}")


def sweep(arguments, dark):
    """Every page as each role: accessible, nothing too wide, no complaint, no other host."""
    faults, shots = [], arguments.shots
    name = "dark-" if dark else ""
    roles = [(None, OPEN_PAGES), (CUSTOMER, CUSTOMER_PAGES), (ERASED, ["/me", "/me/timeline", "/me/sharing", "/me/proof"]),
             (STRANGER, ["/me", "/me/sharing", "/me/choices", "/me/proof"]), ("officer", OFFICER_PAGES)]
    for who, pages in roles:
        with Browser(arguments.url, who, dark=dark) as browser:
            for path in pages:
                browser.look(path, shots, f"{name}{who or 'nobody'}-")
                browser.console(path)
            browser.strangers()
            faults += [f"as {who}: {fault}" for fault in browser.faults]
    return faults


def check_light(arguments):
    return sweep(arguments, dark=False)


def check_dark(arguments):
    return sweep(arguments, dark=True)


def check_without_scripts(arguments):
    """Everything but the proof works without JavaScript."""
    faults = []
    with Browser(arguments.url, CUSTOMER, scripts=False) as browser:
        for path in CUSTOMER_PAGES:
            browser.go(path)
            if not browser.all("main h1"):
                faults.append(f"{path}: no heading")
        browser.go("/me/proof")
        if "verifier.html" not in browser.driver.page_source:
            faults.append("/me/proof: no other way is told")
        browser.go("/me/choices")
        boxes = browser.all("main input[type=checkbox]:not([disabled])")
        if not boxes:
            return faults + ["/me/choices: nothing to choose"]
        before = boxes[0].is_selected()
        name = boxes[0].get_attribute("id")
        click(browser, boxes[0])
        submit(browser, browser.one("main form button[type=submit], main form button:not([type])"))
        browser.go("/me/choices")
        after = browser.one(f"#{name}").is_selected()
        if after == before:
            faults.append("/me/choices: what was chosen is not kept")
    return faults


def click(browser, element):
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    element.click()


def submit(browser, button):
    """Sends the form of a button, and waits for the page that comes then."""
    click(browser, button)
    browser.wait(staleness_of(button), "the page after a form was sent")
    browser.wait(lambda _: browser.all("main h1"), "the page after a form was sent has a heading")


def check_choices(arguments):
    """A choice that is withdrawn blocks the next share; one made against it becomes a finding."""
    url, asked = arguments.url, {"customer": ASKING, "recipient": "mailhouse.example", "purpose": "dpv:DirectMarketing",
                                 "categories": ["pd:Name"]}
    key = service(url)

    def allowed():
        status, text = fetch(f"{url}/v1/authorize", key, json.dumps(asked).encode())
        assert status == 200, text
        return json.loads(text)["allowed"]

    if not allowed():
        return ["the story's consent does not allow to share"]
    with Browser(url, ASKING) as browser:
        browser.go("/me/choices")
        boxes = [box for box in browser.all("main input[type=checkbox]:not([disabled])")
                 if "dpv:DirectMarketing" in (box.get_attribute("value") or "") + (box.get_attribute("name") or "")]
        if not boxes or not boxes[0].is_selected():
            return ["/me/choices: no ticked box for direct marketing"]
        click(browser, boxes[0])
        submit(browser, browser.one("main form button[type=submit], main form button:not([type])"))
        if allowed():
            return ["the withdrawn choice still allows to share"]
    event = {"specversion": "1.0", "id": "against", "source": "https://shop.example/campaigns",
             "type": "org.sharetrail.data.shared.v1", "subject": ASKING, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
             "data": {"recipient": {"id": "mailhouse.example", "name": "Campaign mail house", "role": "processor", "country": "IE"},
                      "categories": ["pd:Name"], "purposes": ["dpv:DirectMarketing"], "legal_basis": "eu-gdpr:A6-1-a"}}
    time.sleep(1.1)
    event["time"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status, text = fetch(f"{url}/v1/events?wait=sealed", key, json.dumps(event).encode(), "application/cloudevents+json")
    if status != 200:
        return [f"the share was not recorded: {status} {text}"]
    mine = lambda: json.loads(fetch(f"{url}/v1/me/trail", token(url, ASKING))[1])["events"]
    until(lambda: any(one["id"] == "against" and one["findings"] for one in mine()), "the customer sees the finding", 20)
    officers = lambda: fetch(f"{url}/v1/officer/findings", token(url, "officer"))[1]
    until(lambda: ASKING in officers(), "the officer sees the finding", 20)
    return []


def check_deletion(arguments):
    """A deletion that is asked for is decided, and the dossier shows it."""
    url = arguments.url
    with Browser(url, ASKING) as browser:
        browser.go("/me/requests")
        browser.one("main input[value=erasure]").click()
        for box in browser.all("main form input[type=checkbox]"):
            if not box.is_selected():
                click(browser, box)
        submit(browser, browser.one("main form button[type=submit], main form button:not([type])"))
    with Browser(url, "officer") as browser:
        browser.wait(lambda _: has_request(browser), "the officer sees the request", 30)
        form = [form for form in browser.all("main form[action*='/officer/requests/']")
                if "erasure" in form.get_attribute("outerHTML").lower() or "delet" in form.get_attribute("outerHTML").lower()][0]
        for box in form.find_elements(By.CSS_SELECTOR, "input[type=checkbox]"):
            click(browser, box)
        for area in form.find_elements(By.CSS_SELECTOR, "textarea, input[type=text]"):
            area.send_keys("as asked")
        grant = form.find_elements(By.CSS_SELECTOR, "button[value=true], button[value=grant], button[value=granted]")
        radios = form.find_elements(By.CSS_SELECTOR, "input[type=radio][value=true], input[type=radio][value=grant], "
                                                     "input[type=radio][value=granted]")
        if radios:
            click(browser, radios[0])
            grant = form.find_elements(By.CSS_SELECTOR, "button")
        submit(browser, grant[0])
    dossier = lambda: json.loads(fetch(f"{url}/v1/me/dossier", token(url, ASKING))[1])
    until(lambda: "erasure" in json.dumps(dossier()), "the dossier shows the erasure")
    with Browser(url, ASKING) as browser:
        browser.go("/me/proof")
        browser.wait(lambda _: verdict(browser) is not None, "the proof ends", 60)
        if verdict(browser) != "checks-out":
            return [f"the proof of an erased customer says {verdict(browser)}: {browser.text()}"]
    return []


def has_request(browser):
    browser.go("/officer")
    return any(word in browser.text().lower() for word in ["deletion", "erasure", "delete"])


def verdict(browser):
    found = browser.all("#proof [data-verdict], #proof[data-verdict]")
    return found[0].get_attribute("data-verdict") if found else None


def check_proof(arguments):
    """The proof checks out; a byte changed on the server's disk turns it to altered; a history that was swapped is seen."""
    url = arguments.url
    with Browser(url, CUSTOMER) as browser:
        browser.go("/me/proof")
        browser.wait(lambda _: verdict(browser) is not None, "the proof ends", 60)
        if verdict(browser) != "checks-out":
            return [f"the proof says {verdict(browser)}: {browser.text()}"]
        if arguments.shots:
            browser.driver.save_screenshot(str(arguments.shots / "proof-checks-out.png"))
        browser.accessible("/me/proof, checked")
        browser.go("/me/proof")
        browser.wait(lambda _: verdict(browser) is not None, "the proof ends again", 60)
        if verdict(browser) != "checks-out":
            return [f"the second visit says {verdict(browser)}: {browser.text()}"]
        # First in the log that auditors read, then in what the dossier is made from.
        dossier = json.loads(fetch(f"{url}/v1/me/dossier", token(url, CUSTOMER))[1])
        for files in ["tile/entries/**/*", "*.leaves"]:
            alter(arguments.folder, dossier, files)
            browser.go("/me/proof")
            browser.wait(lambda _: verdict(browser) is not None, "the proof of what was altered ends", 60)
            if arguments.shots:
                browser.driver.save_screenshot(str(arguments.shots / f"proof-altered-{len(files)}.png"))
            if verdict(browser) != "altered":
                return [f"a byte of {files} was changed, and the proof says {verdict(browser)}: {browser.text()}"]
            if browser.all("#vf-asked, [data-recipient]"):
                return [f"a byte of {files} was changed, and the page still says who received data"]
            if files.startswith("tile"):
                alter(arguments.folder, altered_once(dossier), files)
        return browser.faults


def proof(browser):
    """The verdict of a visit to the Proof page."""
    browser.go("/me/proof")
    browser.wait(lambda _: verdict(browser) is not None, "the proof ends", 60)
    return verdict(browser)


def ask(browser, text, is_typed=False):
    """Asks whether somebody received data: the answers, by the parties that they are about."""
    browser.driver.execute_script("document.querySelectorAll('[data-answer]').forEach(one => one.remove())")
    field = browser.one("#vf-asked")
    field.clear()
    field.send_keys(text + (Keys.ENTER if is_typed else ""))
    if not is_typed:
        click(browser, browser.one("form.vf-ask button[type=submit]"))
    browser.wait(lambda _: browser.all("[data-answer]"), f"there is an answer about {text}")
    return {one.get_attribute("data-party"): one.get_attribute("data-answer") for one in browser.all("[data-answer]")}


def ask_site(browser, party, answer):
    """Has the site show a party, too; what the page says then."""
    click(browser, browser.one("[data-answer=cannot_say] button"))
    browser.wait(lambda _: browser.all(f"[data-answer='{answer}'][data-party='{party}']") and not
                 browser.all("[data-answer] button"), f"the dossier that shows {party} is answered from", 60)
    return verdict(browser)


def check_asking(arguments):
    """Who received data, and whether somebody did, is read from the checked dossier alone."""
    url, faults = arguments.url, []
    with Browser(url, ASKING) as browser:
        if proof(browser) != "checks-out":
            return [f"the proof says {verdict(browser)}: {browser.text()}"]
        told = json.loads(fetch(f"{url}/v1/me/recipients", token(url, ASKING))[1])["recipients"]
        shown = [one.get_attribute("data-recipient") for one in browser.all("[data-recipient]")]
        if shown != sorted(one["id"] for one in told) or not shown:
            faults.append(f"the proof lists {shown}, the server {told}")
        for text, is_typed, expected in [("campaign MAIL", False, {"mailhouse.example": "shared"}),
                                         ("clearing.example", True, {"clearing.example": "cannot_say"})]:
            found = ask(browser, text, is_typed)
            if found != expected:
                faults.append(f"asked about {text}: {found}, expected {expected}")
        # The registry knows this one, and the dossier shows it once it is asked to.
        if ask_site(browser, "clearing.example", "never") != "checks-out":
            faults.append(f"with clearing.example the proof says {verdict(browser)}")
        focused = browser.driver.switch_to.active_element.get_attribute("data-answer")
        if focused != "never":
            faults.append(f"the focus is not on the answer that was asked for, but on {focused}")
        ask(browser, "nobody.example")
        if ask_site(browser, "nobody.example", "cannot_say") != "checks-out":
            faults.append(f"with nobody.example the proof says {verdict(browser)}")
        for width, height in SIZES:
            browser.resize(width, height)
            wide = browser.driver.execute_script(
                "return document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth")
            if wide > 0:
                faults.append(f"an answer at {width} px: {wide} px too wide")
            if arguments.shots:
                browser.driver.save_screenshot(str(arguments.shots / f"proof-asked-{width}.png"))
        browser.console("/me/proof, asked")
        browser.accessible("/me/proof, asked")
        faults += browser.faults
    with Browser(url, STRANGER, dark=True) as browser:
        if proof(browser) != "checks-out" or ask(browser, "anybody.example") != {"anybody.example": "nobody"}:
            faults.append(f"where nothing is on record, nobody received anything: {browser.text()}")
        browser.accessible("/me/proof of a stranger, asked")
        faults += browser.faults
    return faults


class Demo:
    """A demonstration of its own, at a port."""

    def __init__(self, program, port):
        self.folder = tempfile.TemporaryDirectory()
        others = {name: value for name, value in os.environ.items() if name not in ("SHARETRAIL_LEDGER", "SHARETRAIL_HOME")}
        self.process = subprocess.Popen([program, "--json", "demo", "--listen", f"127.0.0.1:{port}"], cwd=self.folder.name,
                                        env=others | {"TMPDIR": self.folder.name}, text=True, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE)
        # One JSON object, whose last line is the only one that begins with its brace.
        for line in self.process.stdout:
            if line.startswith("}"):
                return
        raise SystemExit(f"the demonstration at port {port} did not begin")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=60)
        self.folder.cleanup()


def free_port():
    """One that no other server gets by asking for any: those are above 32767."""
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def remembered(browser):
    return browser.driver.execute_script("return Object.keys(localStorage).filter(key => key.startsWith('sharetrail.'))")


def check_again(arguments):
    """A second demonstration in the same browser is a new one, not another ledger; within it, nothing changes unseen."""
    port = free_port()
    with Browser(f"http://127.0.0.1:{port}") as browser:
        runs = []
        for name in ["first", "second"]:
            with Demo(arguments.program, port):
                browser.sign_in(CUSTOMER)
                if proof(browser) != "checks-out":
                    return [f"the {name} demonstration's proof says {verdict(browser)}: {browser.text()}"]
                if DEMO_REMARK not in browser.one(".vf-verdict").text:
                    browser.fault(f"the card of the verdict does not say that it is a demonstration: {browser.text()}")
                runs.append(remembered(browser))
                if name == "second":
                    faults = changes_within_a_run(browser)
        if any(len(keys) != 1 or not keys[0].startswith("sharetrail.demo.") for keys in runs) or runs[0] == runs[1]:
            faults.append(f"one key for each run alone was to be remembered: {runs}")
        return faults + browser.faults


def changes_within_a_run(browser):
    """What is remembered of this run is compared as anywhere; and without the mark, a new ledger is another ledger."""
    faults, store = [], browser.driver.execute_script
    [key] = remembered(browser)
    if proof(browser) != "checks-out":
        faults.append(f"the run's second visit says {verdict(browser)}: {browser.text()}")
    kept = store("return localStorage.getItem(arguments[0])", key)
    value = json.loads(kept)
    for shard in value["shards"].values():
        shard["record"]["root"] = base64.b64encode(bytes(32)).decode()
    store("localStorage.setItem(arguments[0], arguments[1])", key, json.dumps(value))
    if proof(browser) != "altered":
        faults.append(f"the log is not the remembered one, and the proof says {verdict(browser)}: {browser.text()}")
    # A ledger that was met without the mark is no demonstration's, though the page bears one now.
    store("localStorage.clear(); localStorage.setItem('sharetrail.proof.' + arguments[0], arguments[1])",
          key.removeprefix("sharetrail.demo."), json.dumps(value))
    if proof(browser) != "altered":
        faults.append(f"the mark hides what is remembered of this ledger: {verdict(browser)}: {browser.text()}")
    # As on a server that is no demonstration: the mark is taken off before the page's script looks for it.
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": (
        "new MutationObserver(() => document.getElementById('proof')?.removeAttribute('data-demo'))"
        ".observe(document, {childList: true, subtree: true});")})
    store("localStorage.clear(); localStorage.setItem('sharetrail.proof.' + '0'.repeat(64), arguments[0])", kept)
    if proof(browser) != "altered":
        faults.append(f"another ledger was remembered, and the proof says {verdict(browser)}: {browser.text()}")
    if DEMO_REMARK in browser.one(".vf-verdict").text:
        faults.append("without the mark the card of the verdict says that it is a demonstration")
    return faults


def alter(folder, dossier, files):
    """Changes the last byte of one of the customer's entries in the files as they lie."""
    entry, changed = base64.b64decode(dossier["generations"][0]["events"][3]["leaf"]["entry"]), 0
    for file in pathlib.Path(folder).rglob(files):
        # The last bundle lies there as it was at several sizes.
        if file.is_file() and entry in (held := file.read_bytes()):
            at = held.index(entry) + len(entry) - 1
            with open(file, "r+b") as opened:
                opened.seek(at)
                opened.write(bytes([held[at] ^ 1]))
            changed += 1
    if not changed:
        raise SystemExit(f"no file {files} under {folder} holds the entry")


def altered_once(dossier):
    """The dossier as if its entry were the changed one, so that changing it again brings the first back."""
    again = json.loads(json.dumps(dossier))
    leaf = again["generations"][0]["events"][3]["leaf"]
    entry = bytearray(base64.b64decode(leaf["entry"]))
    entry[-1] ^= 1
    leaf["entry"] = base64.b64encode(entry).decode()
    return again


def check_offline(arguments):
    """The self-contained page from disk, without any network: a good dossier and an altered one."""
    url, folder = arguments.url, pathlib.Path(arguments.folder)
    files = {"page.html": fetch(f"{url}/verifier.html")[1], "policy": fetch(f"{url}/policy")[1],
             "good.json": fetch(f"{url}/v1/me/dossier", token(url, CUSTOMER))[1]}
    files["bad.json"] = files["good.json"].replace("2025-05-02", "2025-09-02", 1)
    if files["bad.json"] == files["good.json"]:
        return ["the dossier lacks the date that is altered"]
    for name, text in files.items():
        (folder / name).write_text(text)
    with Browser(url) as browser:
        browser.driver.execute_cdp_cmd("Network.enable", {})
        browser.driver.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["http://*", "https://*"]})
        for name, wanted in [("good.json", "checks-out"), ("bad.json", "altered")]:
            browser.driver.get((folder / "page.html").as_uri())
            inputs = browser.all("input[type=file]")
            for element in inputs:
                is_policy = "policy" in (element.get_attribute("id") or "")
                element.send_keys(str(folder / ("policy" if is_policy else name)))
            for button in browser.all("button"):
                if button.is_displayed() and button.is_enabled() and "check" in button.text.lower():
                    button.click()
                    break
            browser.wait(lambda _: browser.all("[data-verdict]"), "the page says something", 60)
            said = browser.one("[data-verdict]").get_attribute("data-verdict")
            if said != wanted:
                browser.fault(f"{name}: {said}, expected {wanted}")
            if bool(browser.all("#vf-asked")) != (wanted == "checks-out"):
                browser.fault(f"{name}: who received data is told of a dossier that checks out, and of no other")
            if browser.all("#vf-asked") and ask(browser, "clearing") != {"clearing.example": "shared"}:
                browser.fault(f"{name}: the page does not say that clearing.example received data")
        browser.accessible("the self-contained page")
        browser.console("the self-contained page")
        return browser.faults


GOLDEN = pathlib.Path(__file__).parents[2] / "ledger/proof/tests/golden"
VERIFY = """
const [file, policy, flips, done] = arguments;
const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
(async () => {
  const verdicts = [];
  for (const at of [null, ...flips]) {
    const altered = bytes(file);
    if (at !== null) altered[at] ^= 1;
    verdicts.push((await SharetrailVerifier.verify(altered, bytes(policy), {})).verdict);
  }
  done(verdicts);
})().catch(error => done([String(error)]));
"""


def check_golden(arguments):
    """The browser's verifier accepts the frozen files and none that has one bit flipped."""
    policy = base64.b64encode((GOLDEN / "policy-v1").read_bytes()).decode()
    with Browser(arguments.url) as browser:
        browser.driver.set_script_timeout(240)
        browser.go("/verifier.html")
        for name in ["dossier-v1.json", "absence-v1.json", "erasure-v1.json"]:
            held = (GOLDEN / name).read_bytes()
            # A step that shares no factor with the lengths of the file's parts, so that every part is met.
            flips = list(range(7, len(held), max(1, len(held) // 97)))
            text = base64.b64encode(held).decode()
            verdicts = browser.driver.execute_async_script(VERIFY, text, policy, flips)
            if verdicts[0] != "checks-out":
                browser.fault(f"{name}: {verdicts[0]}")
            for at, verdict in zip(flips, verdicts[1:]):
                if verdict not in ("altered", "missing", "not-json"):
                    browser.fault(f"{name}, bit 0 of byte {at} flipped: {verdict}")
        return browser.faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    checks = [name.removeprefix("check_") for name in globals() if name.startswith("check_")]
    parser.add_argument("url")
    parser.add_argument("check", choices=checks)
    parser.add_argument("--folder", help="the server's folder, for what is altered on the disk")
    parser.add_argument("--program", help="what starts a demonstration, for the check `again`")
    parser.add_argument("--shots", type=pathlib.Path, help="where pictures of the pages are put")
    arguments = parser.parse_args()
    if arguments.shots:
        arguments.shots.mkdir(parents=True, exist_ok=True)
    faults = globals()[f"check_{arguments.check}"](arguments)
    for fault in faults:
        print(fault)
    print(f"{arguments.check}: {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
