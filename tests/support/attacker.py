"""What the scripts have in common that attack a login server over HTTP."""

import concurrent.futures
import copy
import itertools
import sys
import time

import requests

_networks = itertools.count(1)
_people = itertools.count(1)


def network():
    """Another client of the trusted proxy, because the limits of a network are not attacked here."""
    number = next(_networks)
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def person(word="person"):
    return f"{word}-{next(_people)}@example.org"


def patiently(send):
    """Repeats a request that was refused because the machine was too busy to serve it within a second."""
    for _ in range(10):
        answer = send()
        if answer.status_code != 503 or answer.elapsed.total_seconds() < 1:
            break
    return answer


def alone(session):
    """Sends each request over a connection of its own.

    A server that refuses a request before it has read the body closes the connection after the answer. The next
    request over the same connection can be sent just before the client sees that.
    """
    session.headers["Connection"] = "close"
    return session


class Session:
    """Sends JSON to the endpoints under `base`, each time from another network."""

    base = None

    def __init__(self):
        self.session = requests.Session()
        self.session.trust_env = False
        alone(self.session)

    def headers(self, **headers):
        return {"X-Forwarded-For": network(), **headers}

    def send(self, method, path, body=None, token=None, **more):
        headers = self.headers(**more)
        if token:
            headers["Authorization"] = "Bearer " + token
        url = path if path.startswith("http") else self.base + path
        return patiently(
            lambda: self.session.request(method, url, json=body, headers=headers, timeout=60, allow_redirects=False)
        )

    def get(self, path, **more):
        return self.send("GET", path, **more)

    def post(self, path, body=None, token=None, **more):
        return self.send("POST", path, {} if body is None else body, token, **more)


class Browser(Session):
    """Keeps cookies, as a page of the site does."""

    def copy(self):
        """This browser with the cookies of this moment."""
        other = copy.copy(self)
        Session.__init__(other)
        for cookie in self.session.cookies:
            other.session.cookies.set_cookie(copy.copy(cookie))
        return other

    def plant(self, name, source, of):
        """Sets a cookie of another browser, under this name."""
        cookie = next(copy.copy(cookie) for cookie in source.session.cookies if cookie.name == of)
        cookie.name = name
        self.session.cookies.set_cookie(cookie)
        return self

    def cookies(self):
        return {cookie.name: cookie.value for cookie in self.session.cookies}

    def headers(self, site="same-origin", proof=True, **headers):
        if site:
            headers["Sec-Fetch-Site"] = site
        if proof and "csrf" in self.cookies():
            headers["X-CSRF-Token"] = self.cookies()["csrf"]
        return super().headers(**headers)

    def is_signed_in(self):
        return self.get("sessions").status_code == 200


def check(answer, status, error=None, code=None):
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.headers["Cache-Control"] == "no-store"
    if error:
        assert answer.json()["error"] == error, answer.text
    if code:
        assert answer.json()["code"] == code, answer.text
    return answer


def parallel(calls):
    with concurrent.futures.ThreadPoolExecutor(len(calls)) as pool:
        return [done.result() for done in [pool.submit(call) for call in calls]]


def accepted(answers, status=200):
    return sum(answer.status_code == status for answer in answers)


def run(attacks):
    for attack in attacks:
        begun = time.time()
        attack()
        print(f"{attack.__name__}: refused in {time.time() - begun:.1f} s", file=sys.stderr, flush=True)
    print("done")
