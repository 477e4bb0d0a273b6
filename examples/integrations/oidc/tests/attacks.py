"""Attacks the sign-in with identity providers over HTTP. The script is both providers and every browser.

attacks.py ORIGIN CLIENT SECRET

Prints the issuers of its providers in one line, and "done" at the end.
"""

import concurrent.futures
import hashlib
import http.server
import json
import secrets
import sys
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit, urlunsplit

import jwt
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

sys.path.insert(0, str(Path(__file__).parents[4] / "tests/support"))
import attacker
from attacker import parallel, person, run

origin, CLIENT, SECRET = sys.argv[1:]
attacker.Session.base = base = origin + "/api/auth/"
PASSWORD = "a password of the tests"


class Provider:
    """An OpenID provider that checks what RFC 6749 and RFC 7636 ask of it, and lies in ID tokens if it is told to."""

    def __init__(self):
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.codes, self.lies, self.seen = {}, {}, []
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def answer(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_GET(self):
                if self.path == "/jwks":
                    key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(provider.key.public_key()))
                    return self.answer(200, {"keys": [{**key, "kid": "1", "use": "sig", "alg": "RS256"}]})
                self.answer(200, provider.metadata())

            def do_POST(self):
                form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
                self.answer(*provider.token(form, self.headers.get("Authorization", "")))

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def metadata(self):
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.issuer + "/authorize",
            "token_endpoint": self.issuer + "/token",
            "jwks_uri": self.issuer + "/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def authorize(self, url, subject, address=None, verified=True):
        """The user signs in at the provider. Returns the URL of the callback."""
        assert url.startswith(self.issuer + "/authorize?"), url
        query = {name: one for name, [one] in parse_qs(urlsplit(url).query).items()}
        assert query["code_challenge_method"] == "S256" and query["response_type"] == "code"
        assert query["client_id"] == CLIENT and query["redirect_uri"].startswith(base + "identity/")
        for value in [query["state"], query["nonce"], query["code_challenge"]]:
            assert len(value) >= 43 and value not in self.seen
            self.seen.append(value)
        code = secrets.token_urlsafe(20)
        self.codes[code] = {**query, "sub": subject, "email": address, "email_verified": verified}
        return query["redirect_uri"] + "?" + urlencode({"code": code, "state": query["state"], "iss": self.issuer})

    def token(self, form, authorization):
        user = b64decode(authorization.removeprefix("Basic ") or b"").decode()
        # A code is spent by every attempt.
        grant = self.codes.pop(form.get("code"), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = urlsafe_b64encode(verifier).rstrip(b"=").decode()
        if user != f"{CLIENT}:{SECRET}".replace(" ", "+"):
            return 401, {"error": "invalid_client"}
        if not grant or challenge != grant["code_challenge"] or form["redirect_uri"] != grant["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "sub": grant["sub"], "nonce": grant["nonce"], "iat": now, "exp": now + 60}
        if grant["email"]:
            claims.update({"email": grant["email"], "email_verified": grant["email_verified"]})
        claims.update(self.lies)
        claims = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(claims, self.key, "RS256", headers={"kid": "1"})
        return 200, {"access_token": "a", "token_type": "Bearer", "id_token": token}


providers = {"idp": Provider(), "other": Provider()}
print(*[provider.issuer for provider in providers.values()], flush=True)
idp, other = providers.values()


class Browser(attacker.Browser):
    def start(self, name="idp", query="return_to=/in"):
        answer = self.get(f"identity/{name}/start?{query}")
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]

    def finish(self, callback):
        """The provider sends the browser back. Returns the location and the error."""
        answer = self.get(callback, site="cross-site")
        assert answer.status_code == 303, (answer.status_code, answer.text)
        assert answer.headers["Cache-Control"] == "no-store"
        location = answer.headers["Location"]
        assert location.startswith("/") and location[1:2] not in ("/", "\\"), location
        return location.split("#")[0], parse_qs(urlsplit(location).fragment).get("error", [None])[0]

    def sign_in(self, subject, address=None, verified=True, name="idp"):
        return self.finish(providers[name].authorize(self.start(name), subject, address, verified))[1]

    def begin_link(self, name="idp", return_to="/account"):
        answer = self.post(f"identity/{name}/link", {"return_to": return_to})
        assert answer.status_code == 200, answer.text
        return answer.json()["location"]

    def link(self, subject, name="idp"):
        return self.finish(providers[name].authorize(self.begin_link(name), subject))[1]

    def identities(self):
        answer = self.get("identities")
        assert answer.status_code == 200, answer.text
        return answer.json()["identities"]


class User(Browser):
    """A user who has signed up with a provider: the address is verified, and there is no password."""

    def __init__(self):
        super().__init__()
        self.name, self.subject = person(), secrets.token_hex(8)
        assert self.sign_in(self.subject, self.name) is None
        assert self.is_signed_in()


def registered():
    """A browser in which somebody has registered an address with a password, without a proof of it."""
    browser, name = Browser(), person()
    answer = browser.post("register?transport=cookie", {"email": name, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    return browser, name


def changed(url, **parameters):
    parts = urlsplit(url)
    query = {**dict(parse_qsl(parts.query)), **parameters}
    query = {name: value for name, value in query.items() if value is not None}
    return urlunsplit(parts._replace(query=urlencode(query)))


def flows():
    """State, nonce and PKCE: each callback ends the flow of one browser, once."""
    ada = User()
    browser = Browser()
    callback = idp.authorize(browser.start(), ada.subject)
    before = browser.copy()
    # Login CSRF: the attacker's callback in the browser of a victim, who has begun or not.
    victim = Browser()
    assert victim.finish(callback) == ("/", "invalid_flow")
    victim.start()
    assert victim.finish(callback)[1] == "identity_refused"
    assert not victim.is_signed_in()
    assert browser.finish(callback) == ("/in", None)
    # Repeated: with the cookies of then, and in a signed-in browser, which stays as it is.
    for again in [before, Browser()]:
        assert again.finish(callback)[1] == "invalid_flow"
        assert not again.is_signed_in()
    cookies = browser.cookies()
    assert browser.finish(callback)[1] == "invalid_flow"
    assert browser.cookies() == cookies
    # In parallel: one session.
    browser = Browser()
    callback = idp.authorize(browser.start(), ada.subject)
    ends = parallel([lambda one=browser.copy(): one.finish(callback)[1] for _ in range(8)])
    assert ends.count(None) == 1 and ends.count("invalid_flow") == 7, ends
    # Parameters that are missing, changed, or there twice.
    lies = [
        {"state": None}, {"state": ""}, {"state": "x"}, {"code": None}, {"code": "x"}, {"code": ""}, {"iss": "https://evil.example"},
        {"iss": other.issuer}, {"error": "server_error"}, {"error": "x", "code": None},
    ]
    for lie in lies:
        browser = Browser()
        location, error = browser.finish(changed(idp.authorize(browser.start(), ada.subject), **lie))
        assert error in ("identity_refused", "temporarily_unavailable") and location == "/in", (lie, error)
        assert not browser.is_signed_in()
    for name in ["code", "state", "iss"]:
        browser = Browser()
        callback = idp.authorize(browser.start(), ada.subject)
        assert browser.finish(f"{callback}&{name}=x")[1] == "invalid_request"
    # The code of a victim in the flow of the attacker: PKCE and the nonce (RFC 9700 §4.5).
    victim, thief = Browser(), Browser()
    stolen = dict(parse_qsl(urlsplit(idp.authorize(victim.start(), ada.subject)).query))["code"]
    assert thief.finish(changed(idp.authorize(thief.start(), "thief"), code=stolen))[1] == "identity_refused"
    # An ID token of another flow.
    for lie in [{"nonce": None}, {"nonce": "x"}, {"aud": "another-app"}, {"iss": other.issuer}, {"exp": 1}, {"sub": None}, {"sub": ""}, {"sub": "x" * 300}, {"aud": [CLIENT, "x"], "azp": "x"}]:
        idp.lies = lie
        browser = Browser()
        error = browser.sign_in(ada.subject)
        idp.lies = {}
        assert error == "identity_refused", (lie, error)
        assert not browser.is_signed_in()
    # A cookie of the flow that was changed, cut, or planted twice by another host.
    browser = Browser()
    callback = idp.authorize(browser.start(), ada.subject)
    value = browser.cookies()["flw-id-idp"]
    for bad in [value[:-1], value[:20], "bf1_", "x", value.swapcase(), f"{value}; flw-id-idp={value}"]:
        answer = requests.get(callback, headers={"Cookie": f"flw-id-idp={bad}"}, allow_redirects=False, timeout=60)
        assert answer.status_code == 303 and "#error=in" in answer.headers["Location"], (bad[:9], answer.headers)
    assert browser.finish(callback)[1] is None


def mix_up():
    """Two providers, of which one is the attacker's (RFC 9700 §4.4)."""
    ada = User()
    # The callback of one with the flow of the other.
    browser = Browser()
    callback = idp.authorize(browser.start(), ada.subject)
    wrong = callback.replace("/identity/idp/", "/identity/other/")
    assert browser.finish(wrong) == ("/", "invalid_flow")
    # Both flows at once in one browser.
    browser = Browser()
    mine, evil = browser.start("idp"), browser.start("other")
    code = idp.authorize(mine, ada.subject)
    state = dict(parse_qsl(urlsplit(evil).query))["state"]
    assert browser.finish(changed(code, state=state))[1] == "identity_refused"
    browser.start("idp")
    assert browser.finish(changed(code.replace("/idp/", "/other/"), state=state))[1] == "identity_refused"
    # The cookie of one flow under the name of the other.
    browser = Browser()
    browser.start("idp")
    evil = other.authorize(browser.start("other"), ada.subject)
    planted = Browser().plant("flw-id-idp", browser, "flw-id-other")
    assert planted.finish(evil.replace("/other/", "/idp/"))[1] == "invalid_flow"
    # The other provider names the first one, or its subject: it is another account.
    other.lies = {"iss": idp.issuer}
    assert Browser().sign_in(ada.subject, name="other") == "identity_refused"
    other.lies = {}
    assert Browser().sign_in(ada.subject, name="other") == "no_account"
    thief = Browser()
    assert thief.sign_in(ada.subject, person(), name="other") is None
    assert [one["provider"] for one in thief.identities()] == ["other"]
    # A subject that is cut into an issuer and a subject elsewhere.
    for subject in [" " + ada.subject, ada.subject + " ", f"{idp.issuer} {ada.subject}", ada.subject.upper(), ada.subject + "\u0000"]:
        assert Browser().sign_in(subject) in ("no_account", "identity_refused"), subject


def linking():
    """Only the signed-in user links, what the provider says is that user's, and nobody else's."""
    ada, eve = User(), User()
    assert ada.link("ada-2") is None
    # The identity of another user.
    assert eve.link("ada-2") == "identity_taken"
    assert eve.link(ada.subject) == "identity_taken"
    body = {"issuer": idp.issuer, "subject": "ada-2"}
    assert eve.post("identities/unlink", body).status_code in (404, 409)
    assert eve.link("eve-2") is None
    assert eve.post("identities/unlink", body).status_code == 404
    assert {one["subject"] for one in ada.identities()} == {ada.subject, "ada-2"}
    # The attacker's link in the victim's browser: the victim's account gets no identity of the attacker.
    callback = idp.authorize(eve.begin_link(), "eve-3")
    assert ada.finish(callback)[1] == "invalid_flow"
    shared = ada.copy().plant("flw-id-idp", eve, "flw-id-idp")
    assert shared.finish(callback)[1] == "invalid_token"
    assert all(one["subject"] != "eve-3" for one in ada.identities() + eve.identities())
    # The victim's identity in the attacker's flow.
    url = eve.begin_link()
    assert ada.finish(idp.authorize(url, ada.subject))[1] == "invalid_flow"
    # The session ends in between: alone, and by the end of all.
    for end in [{}, {"scope": "all"}]:
        user = User()
        callback = idp.authorize(user.begin_link(), "late")
        assert user.post("logout", end).status_code == 204
        assert user.finish(callback)[1] == "invalid_token"
        assert Browser().sign_in("late") == "no_account"
    # From another site, without the proof, without a session, and by a guest.
    for path in ["identity/idp/link", "identities/unlink"]:
        body = {"issuer": idp.issuer, "subject": "ada-2"}
        for site in ["cross-site", "same-site"]:
            assert ada.post(path, body, site=site).status_code == 403
        for headers in [{}, {"Origin": "https://evil.example"}]:
            assert ada.post(path, body, site=None, proof=False, **headers).status_code == 403
        assert ada.post(path, body, proof=False).status_code == 403
        assert ada.post(path, body, proof=False, **{"X-CSRF-Token": eve.cookies()["csrf"]}).status_code == 403
        assert Browser().post(path, body).status_code == 401
        form = ada.session.post(base + path, data="{}", headers=ada.headers("same-origin", **{"Content-Type": "text/plain"}), timeout=60)
        assert form.status_code == 415, form.status_code
        for method in ["GET", "PUT", "DELETE", "PATCH"]:
            assert ada.session.request(method, base + path, timeout=60).status_code == 405
    assert ada.post("identities/unlink", {"issuer": idp.issuer}).status_code == 400
    for subject in ["ada-2\u0000", "ada-2 ", "x" * 5000]:
        assert ada.post("identities/unlink", {"issuer": idp.issuer, "subject": subject}).status_code == 404
    assert len(ada.identities()) == 2
    assert Browser().get("identities").status_code == 401
    # Twenty, also at once.
    users = [ada.copy() for _ in range(24)]
    callbacks = [(one, idp.authorize(one.begin_link(), f"many-{number}")) for number, one in enumerate(users)]
    ends = parallel([lambda one=one, url=url: one.finish(url)[1] for one, url in callbacks])
    assert set(ends) <= {None, "too_many_identities"}, ends
    kept = len(ada.identities())
    assert kept == 2 + ends.count(None) and kept <= 20, (kept, ends)
    # One identity, by many users at once.
    users = [User() for _ in range(6)]
    callbacks = [(one, idp.authorize(one.begin_link(), "wanted")) for one in users]
    ends = parallel([lambda one=one, url=url: one.finish(url)[1] for one, url in callbacks])
    assert ends.count(None) == 1 and ends.count("identity_taken") == 5, ends


def last_way():
    """The only way to sign in stays."""
    ada = User()
    body = {"issuer": idp.issuer, "subject": ada.subject}
    assert ada.post("identities/unlink", body).json()["error"] == "last_credential"
    assert ada.link("second") is None
    assert ada.post("identities/unlink", body).status_code == 204
    assert ada.post("identities/unlink", {**body, "subject": "second"}).json()["error"] == "last_credential"
    # An unlinked identity opens nothing, and the session stays.
    assert Browser().sign_in(ada.subject) == "no_account"
    assert ada.is_signed_in()
    # In the middle of a sign-in.
    late = Browser()
    callback = idp.authorize(late.start(), "third")
    assert ada.link("third") is None
    assert ada.post("identities/unlink", {**body, "subject": "third"}).status_code == 204
    assert late.finish(callback)[1] == "no_account"


def redirects():
    """No page of another site, and no header, by `return_to` or by the provider's answer."""
    ada = User()
    evil = [
        "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\/evil.example", "/%09/evil.example", "javascript:alert(1)",
        "/\r\nSet-Cookie: x=1", "/\nX: 1", "/\t/evil.example", " /", "/ ", "evil", "", "/#error=x", "/a#b", "data:text/html,x", "/\u0000", "/\u2028", "/é", "http:evil.example", "/" + "a" * 600,
    ]
    for to in evil:
        browser = Browser()
        location, error = browser.finish(idp.authorize(browser.start(query=urlencode({"return_to": to})), ada.subject))
        assert error is None and (location == "/" or to.startswith("/%09")), (to, location)
        location = ada.finish(idp.authorize(ada.begin_link(return_to=to), ada.subject))[0]
        assert location == "/" or to.startswith("/%09"), (to, location)
    for query in ["return_to=/a&return_to=//evil.example", "return_to=%FF%FE", "return_to", "x=" + "y" * 5000]:
        answer = Browser().get(f"identity/idp/start?{query}")
        assert answer.status_code in (303, 400), answer.status_code
        assert "evil" not in answer.headers.get("Location", "")
    # Text of the provider is not in the response.
    for parameter in ["error", "error_description", "error_uri", "state", "iss", "code"]:
        browser = Browser()
        callback = changed(idp.authorize(browser.start(), ada.subject), **{parameter: "<i>mark</i>\r\nSet-Cookie: mark=1"})
        answer = browser.get(callback, site="cross-site")
        assert "mark" not in str(answer.headers) + answer.text, answer.headers
    # Headers of the request do not choose the callback.
    hosts = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.example", "Origin": origin}
    answer = Browser().get("identity/idp/start", **hosts)
    assert "evil" not in answer.headers["Location"]
    # From another site, nobody is signed in.
    for site in ["cross-site", "same-site"]:
        browser = Browser()
        answer = browser.get("identity/idp/start?return_to=/in", site=site)
        assert answer.headers["Location"].startswith("/in#error=access_denied") and not browser.cookies(), answer.headers
    for path in ["identity/none/start", "identity//start", "identity/idp", "identity/idp/", "identity/IDP/start", "identity/idp/start/", "identity/idp/../other/start", "identity/%69dp/start"]:
        request = requests.Request("GET", origin).prepare()
        request.url = base + path
        assert browser.session.send(request, timeout=60, allow_redirects=False).status_code == 404, path


def fixation():
    """A session that was there before is replaced, and never raised."""
    ada, thief = User(), User()
    browser = thief.copy()
    before = browser.cookies()
    assert browser.sign_in(ada.subject) is None
    after = browser.cookies()
    assert all(after[name] != before[name] for name in ["at", "rt", "csrf"])
    assert {one["subject"] for one in browser.identities()} == {ada.subject}
    assert {one["subject"] for one in thief.identities()} == {thief.subject}
    # A refused callback leaves the session as it is.
    cookies = thief.cookies()
    assert thief.finish(changed(idp.authorize(thief.start(), ada.subject), state="x"))[1] == "identity_refused"
    assert {name: thief.cookies()[name] for name in ["at", "rt", "csrf"]} == {name: cookies[name] for name in ["at", "rt", "csrf"]}


def addresses():
    """An address opens an account only if both sides have verified it."""
    ada = User()
    browser, name = registered()
    # Nothing says whether an account exists.
    ends = [Browser().sign_in(secrets.token_hex(8), address, verified=False) for address in [ada.name, name, person()]]
    ends += [Browser().sign_in(secrets.token_hex(8))]
    assert ends == ["no_account"] * 4, ends
    assert browser.is_signed_in()
    # Another person of the provider, who got the address later.
    assert Browser().sign_in("later", ada.name) == "link_required"
    for address in [ada.name.upper(), f" {ada.name} ", ada.name.title()]:
        assert Browser().sign_in("spelled", address) in ("link_required", "no_account")
    # Look-alikes, and texts that are no address, are other people or nobody.
    for address in [ada.name.replace("e", "\u0435"), ada.name + ".", f"{ada.name},eve@example.org", f"x <{ada.name}>", "x", "a" * 400 + "@example.org", f"{ada.name}\r\nBcc: x@example.org"]:
        stranger = Browser()
        error = stranger.sign_in(secrets.token_hex(8), address)
        assert error in (None, "no_account"), (address, error)
        if error is None:
            assert {one["subject"] for one in stranger.identities()} != {ada.subject}
    assert {one["subject"] for one in ada.identities()} == {ada.subject}


def sign_ups():
    """Of many sign-ins with one new address, one creates the account."""
    for _ in range(3):
        name, subject = person(), secrets.token_hex(8)
        begun = []
        for number in range(8):
            browser, provider = Browser(), ["idp", "other"][number % 2]
            begun.append((browser, providers[provider].authorize(browser.start(provider), subject, name)))
        ends = parallel([lambda one=one, url=url: one.finish(url)[1] for one, url in begun])
        assert ends == [None] * 8, ends
        identities = [{(one["issuer"], one["subject"]) for one in browser.identities()} for browser, _ in begun]
        assert all(one == {(idp.issuer, subject), (other.issuer, subject)} for one in identities), identities
        sessions = [len(browser.get("sessions").json()["sessions"]) for browser, _ in begun]
        assert sessions == [8] * 8, sessions


def take_over():
    """A thief has registered the address of a victim, and acts at the moment when the victim comes."""
    for _ in range(2):
        thief, name = registered()
        assert thief.link("thief-" + name) is None
        waiting = [(one, idp.authorize(one.begin_link(), f"late-{number}-{name}")) for number, one in enumerate(thief.copy() for _ in range(6))]
        stop, over = threading.Event(), threading.Event()
        won = []

        def hammer(act):
            while not stop.is_set():
                act()

        def by_password():
            browser = Browser()
            if over.is_set():
                time.sleep(0.01)
            elif browser.post("login?transport=cookie", {"email": name, "password": PASSWORD}).status_code == 200:
                won.append(browser)
            else:
                # Not so often that the account is throttled.
                over.set()

        def by_identity():
            browser = Browser()
            if browser.sign_in("thief-" + name) is None:
                won.append(browser)

        def by_link():
            for browser, url in waiting:
                browser.finish(url)
            browser = thief.copy()
            if browser.post("identity/idp/link").status_code == 200:
                browser.finish(idp.authorize(browser.begin_link(), f"new-{secrets.token_hex(4)}-{name}")) if browser.is_signed_in() else None

        def safely(act):
            def run():
                try:
                    act()
                except AssertionError:
                    # The session has ended between two requests.
                    pass
            return run

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            running = [pool.submit(hammer, safely(act)) for act in [by_password, by_identity, by_link]]
            time.sleep(0.1)
            owner = Browser()
            subject = secrets.token_hex(8)
            for _ in range(5):
                error = owner.sign_in(subject, name)
                if error is None:
                    break
                assert error in ("temporarily_unavailable", "link_required"), error
            assert error is None, error
            time.sleep(0.2)
            stop.set()
        for task in running:
            task.result()
        assert owner.is_signed_in()
        assert [one["subject"] for one in owner.identities()] == [subject]
        for browser in [thief, *won]:
            assert not browser.is_signed_in()
        assert Browser().post("login", {"email": name, "password": PASSWORD}).status_code == 401
        assert Browser().sign_in("thief-" + name) == "no_account"


run([flows, mix_up, linking, last_way, redirects, fixation, addresses, sign_ups, take_over])
