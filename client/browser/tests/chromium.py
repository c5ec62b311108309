"""A headless Chromium over the DevTools protocol, by its pipe: nothing but the standard library.

Every message any page or worker sends is kept, so that a test can ask what went over the network.
"""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import threading
import time

NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--disable-default-apps", "--disable-extensions", "--mute-audio",
    "--force-color-profile=srgb", "--hide-scrollbars", "--remote-debugging-pipe",
]


def find():
    """The browser's path, or None."""
    found = [shutil.which(name) for name in [os.environ.get("CHROMIUM") or "", *NAMES]]
    return next((path for path in found if path), None)


class Browser:
    """One browser with a fresh profile; ends with its `with` block."""

    def __init__(self, path, downloads):
        self.profile = tempfile.mkdtemp(prefix="bulla-chromium-")
        self.downloads = downloads
        their_read, our_write = os.pipe()
        our_read, their_write = os.pipe()

        def fds():
            # The protocol's pipe: commands on 3, answers on 4. Copies first, lest one overwrite
            # the other.
            read, write = os.dup(their_read), os.dup(their_write)
            os.dup2(read, 3)
            os.dup2(write, 4)
            os.set_inheritable(3, True)
            os.set_inheritable(4, True)

        self.log = open(os.path.join(self.profile, "stderr.log"), "w+b")
        self.process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"],
            preexec_fn=fds, close_fds=False, stdout=self.log, stderr=self.log)
        os.close(their_read)
        os.close(their_write)
        self.out, self.inp = os.fdopen(our_write, "wb", 0), os.fdopen(our_read, "rb", 0)
        self.next, self.answers, self.events = 0, {}, []
        self.news = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
            self.process.wait(10)
        except Exception:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.profile, ignore_errors=True)

    def _listen(self):
        waiting = b""
        while piece := self.inp.read(1 << 16):
            *messages, waiting = (waiting + piece).split(b"\0")
            with self.news:
                for message in map(json.loads, messages):
                    if "id" in message:
                        self.answers[message["id"]] = message
                    else:
                        self.events.append(message)
                self.news.notify_all()

    def call(self, method, parameters=None, session=None, timeout=60):
        self.next += 1
        number = self.next
        message = {"id": number, "method": method, "params": parameters or {}}
        if session:
            message["sessionId"] = session
        self.out.write(json.dumps(message).encode() + b"\0")
        with self.news:
            if not self.news.wait_for(lambda: number in self.answers, timeout):
                raise TimeoutError(f"{method} was not answered")
            answer = self.answers.pop(number)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def page(self, url):
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        page = Page(self, session)
        for domain in ["Page", "Runtime", "Network", "Log", "DOM"]:
            page.call(f"{domain}.enable")
        # Workers start paused until their network is watched too: see Page.watch_workers.
        page.call("Target.setAutoAttach", {
            "autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True})
        self.call("Browser.setDownloadBehavior", {
            "behavior": "allow", "downloadPath": self.downloads, "eventsEnabled": True})
        threading.Thread(target=page.watch_workers, daemon=True).start()
        page.call("Page.navigate", {"url": url})
        return page


class Page:
    """One page."""

    def __init__(self, browser, session):
        self.browser, self.session, self.workers = browser, session, []

    def call(self, method, parameters=None, timeout=60):
        return self.browser.call(method, parameters, self.session, timeout)

    def watch_workers(self):
        seen = 0
        while self.browser.process.poll() is None:
            with self.browser.news:
                self.browser.news.wait_for(lambda: len(self.browser.events) > seen, 1)
                events, seen = self.browser.events[seen:], len(self.browser.events)
            for event in events:
                if event["method"] != "Target.attachedToTarget":
                    continue
                if event.get("sessionId") != self.session:
                    continue
                worker = event["params"]["sessionId"]
                try:
                    self.browser.call("Network.enable", {}, worker)
                    self.browser.call("Runtime.enable", {}, worker)
                    self.browser.call("Runtime.runIfWaitingForDebugger", {}, worker)
                    self.workers.append(worker)
                except RuntimeError:
                    pass  # it ended meanwhile

    def run(self, expression, session=None):
        """Evaluates JavaScript, promises awaited; an exception there is one here."""
        answer = self.browser.call("Runtime.evaluate", {
            "expression": expression, "awaitPromise": True, "returnByValue": True,
            "userGesture": True}, session or self.session)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def until(self, expression, timeout=30):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = self.run(expression)
            if value:
                return value
            time.sleep(0.03)
        raise TimeoutError(f"never true: {expression}\n{self.run('document.body.innerText')}")

    def drop(self, paths, selector="#drop"):
        """Drags files from outside onto an element, as a hand would."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView();"
            "const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + Math.min(20, r.height / 2)]; })()")
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        for kind in ["dragEnter", "dragOver", "drop"]:
            self.call("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})

    def choose(self, selector, paths):
        """Chooses files in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", {"nodeId": root, "selector": selector})["nodeId"]
        self.call("DOM.setFileInputFiles", {"nodeId": node, "files": [str(path) for path in paths]})

    def key(self, key, code=None, text=""):
        common = {"key": key, "code": code or key, "windowsVirtualKeyCode": {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)}
        self.call("Input.dispatchKeyEvent", {"type": "keyDown", "text": text, **common})
        self.call("Input.dispatchKeyEvent", {"type": "keyUp", **common})

    def look(self, width, height=None, dark=False, media=""):
        """Sets the window's width, the colours and the medium."""
        self.call("Emulation.setEmulatedMedia", {"media": media, "features": [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
        self.call("Emulation.setDeviceMetricsOverride", {
            "width": width, "height": height or 900, "deviceScaleFactor": 1, "mobile": False})

    def screenshot(self, path, whole=True):
        picture = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        with open(path, "wb") as file:
            file.write(base64.b64decode(picture["data"]))

    def requests(self):
        """Addresses that the page or any of its workers asked for."""
        with self.browser.news:
            events = list(self.browser.events)
        ours = {self.session, *self.workers}
        return [event["params"]["request"]["url"] for event in events
                if event["method"] == "Network.requestWillBeSent" and event.get("sessionId") in ours]

    def complaints(self):
        """Exceptions, console errors and policy violations."""
        with self.browser.news:
            events = list(self.browser.events)
        found = []
        for event in events:
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(parameters["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
                found.append(str(parameters["args"]))
        return found
