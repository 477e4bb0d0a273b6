"""Attacks the passkeys of a running `auth_server` over HTTP, with an authenticator in software.

Prints the port of its SMTP server, reads the origin of the login server, and prints "done".
"""

import concurrent.futures
import hashlib
import json
import secrets
import struct
import sys
import threading
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import requests
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from attacker import Browser, Session, accepted, check, parallel, person, run
from postbox import Postbox, link

PASSWORD = "a password of the tests"
postbox = Postbox()
mail, origin = postbox.mail, postbox.origin
Session.base = base = origin + "/api/auth/"


def encoded(data):
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(text):
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def heads(length):
    """The head of a CBOR byte string."""
    return bytes([0x58, length]) if length < 256 else struct.pack(">BH", 0x59, length)


class Authenticator:
    """One credential. What it says is set by the caller, so that it can lie."""

    def __init__(self, credential=None, key=None, rp="localhost", site=None):
        self.id = credential or secrets.token_bytes(32)
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        self.rp, self.site = rp, site or origin
        self.counter = 0
        self.handle = b""

    def client_data(self, kind, challenge, more):
        data = {"type": kind, "challenge": challenge, "origin": self.site, "crossOrigin": False, **more}
        return json.dumps({name: value for name, value in data.items() if value is not None}).encode()

    def head(self, flags):
        self.counter += 1
        return hashlib.sha256(self.rp.encode()).digest() + struct.pack(">BI", flags, self.counter)

    def create(self, options, flags=0x45, kind="webauthn.create", **more):
        options = options["publicKey"]
        self.handle = decoded(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        cose = bytes.fromhex("a5010203262001215820") + numbers.x.to_bytes(32) + bytes.fromhex("225820") + numbers.y.to_bytes(32)
        data = self.head(flags) + bytes(16) + struct.pack(">H", len(self.id)) + self.id + cose
        attestation = b"\xa3\x63fmt\x64none\x67attStmt\xa0\x68authData" + heads(len(data)) + data
        public = self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return self.answer({
            "clientDataJSON": encoded(self.client_data(kind, options["challenge"], more)),
            "attestationObject": encoded(attestation),
            "authenticatorData": encoded(data),
            "publicKey": encoded(public),
            "publicKeyAlgorithm": -7,
            "transports": ["internal"],
        })

    def get(self, options, flags=0x05, kind="webauthn.get", handle=None, **more):
        client = self.client_data(kind, options["publicKey"]["challenge"], more)
        data = self.head(flags)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self.answer({
            "clientDataJSON": encoded(client),
            "authenticatorData": encoded(data),
            "signature": encoded(signature),
            "userHandle": encoded(self.handle if handle is None else handle),
        })

    def answer(self, response):
        return {
            "id": encoded(self.id), "rawId": encoded(self.id), "type": "public-key", "response": response,
            "authenticatorAttachment": "platform", "clientExtensionResults": {},
        }


class User:
    """A registered user in a browser, with an authenticator."""

    def __init__(self, passkey=True, verified=True):
        self.name = person("user")
        self.browser = Browser()
        check(self.browser.post("register?transport=cookie", self.login()), 201)
        if verified:
            check(self.browser.post("email/verify", {"token": link(mail(self.name, "Confirm your address"))}), 204)
        self.device = Authenticator()
        if passkey:
            self.passkey = check(self.register(), 201).json()["id"]
            assert self.passkey == encoded(self.device.id)

    def login(self, **more):
        return {"email": self.name, "password": PASSWORD, **more}

    def options(self):
        return check(self.browser.post("passkeys/register/options"), 200).json()

    def register(self, device=None, label="A phone"):
        credential = (device or self.device).create(self.options())
        return self.browser.post("passkeys/register", {"credential": json.dumps(credential), "label": label})

    def list(self):
        return check(self.browser.get("passkeys"), 200).json()["passkeys"]


def challenge(browser):
    return check(browser.post("passkeys/options"), 200).json()


def use(browser, credential, **more):
    text = credential if isinstance(credential, str) else json.dumps(credential)
    return browser.post("passkeys/sign-in?transport=cookie", {"credential": text, **more})


def sign_in(device, browser=None):
    browser = browser or Browser()
    check(use(browser, device.get(challenge(browser))), 200)
    assert browser.is_signed_in()
    return browser


def challenges():
    """A challenge is used once, in the browser that asked, for what it was made for."""
    ada = User()
    browser = sign_in(ada.device)
    options = challenge(browser)
    before = browser.copy()
    response = ada.device.get(options)
    check(use(browser, response), 200)
    for again in [browser, before, Browser()]:
        check(use(again, response), 400, "invalid_flow")
    # Of another challenge of the same browser.
    old = challenge(browser)
    challenge(browser)
    check(use(browser, ada.device.get(old)), 400, "invalid_passkey")
    # A refused response spends the challenge as well.
    options = challenge(browser)
    check(use(browser, ada.device.get(options, kind="webauthn.create")), 400, "invalid_passkey")
    check(use(browser, ada.device.get(options)), 400, "invalid_flow")
    # The challenge of a registration under the name of a sign-in, and the reverse.
    options = ada.options()
    planted = Browser().plant("flw-passkey", ada.browser, "flw-passkey-new")
    check(use(planted, ada.device.get(options)), 400, "invalid_flow")
    options = challenge(ada.browser)
    forged = ada.browser.copy().plant("flw-passkey-new", ada.browser, "flw-passkey")
    credential = Authenticator().create({"publicKey": {**options["publicKey"], "user": {"id": encoded(ada.device.handle)}}})
    check(forged.post("passkeys/register", {"credential": json.dumps(credential)}), 400, "invalid_flow")
    # In parallel: one session.
    victim = User()
    browser = Browser()
    response = victim.device.get(challenge(browser))
    before = len(check(victim.browser.get("sessions"), 200).json()["sessions"])
    uses = parallel([lambda one=browser.copy(): use(one, response) for _ in range(8)])
    assert accepted(uses) == 1, [one.text for one in uses]
    assert len(victim.browser.get("sessions").json()["sessions"]) == before + 1
    # Login CSRF: the thief's response in the victim's browser.
    thief = User()
    theirs = Browser()
    response = thief.device.get(challenge(theirs))
    check(use(Browser(), response), 400, "invalid_flow")
    for site in ["cross-site", "same-site"]:
        check(theirs.post("passkeys/options", site=site), 403)
        check(theirs.post("passkeys/sign-in", {"credential": json.dumps(response)}, site=site), 403)


def responses():
    """Everything in a response that is not as it must be."""
    ada = User()
    other = Authenticator()
    lies = {
        "another type": dict(kind="webauthn.create"),
        "no type": dict(kind=None),
        "a frame of another site": dict(crossOrigin=True),
        "a page inside another site": dict(crossOrigin=True, topOrigin="https://evil.example"),
        "another origin": dict(origin="https://evil.example"),
        "a subdomain": dict(origin=origin.replace("localhost", "evil.localhost")),
        "another port": dict(origin="http://localhost:1"),
        "a suffix": dict(origin=origin + ".evil.example"),
        "another scheme": dict(origin=origin.replace("http:", "https:")),
        "no origin": dict(origin=None),
        "another challenge": dict(challenge=encoded(secrets.token_bytes(16))),
        "an empty challenge": dict(challenge=""),
        "no user present": dict(flags=0x04),
        "no user verified": dict(flags=0x01),
        "neither": dict(flags=0x00),
        "another handle": dict(handle=secrets.token_bytes(16)),
        "no handle": dict(handle=b""),
        "a long handle": dict(handle=secrets.token_bytes(64)),
    }
    for name, lie in lies.items():
        browser = Browser()
        answer = use(browser, ada.device.get(challenge(browser), **lie))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_passkey"), (name, answer.text)
        assert not browser.is_signed_in()
    for name, liar in {
        "another relying party": Authenticator(ada.device.id, ada.device.key, rp="evil.example"),
        "another key": Authenticator(ada.device.id),
        "an unknown credential": other,
    }.items():
        liar.handle, liar.counter = ada.device.handle, 1000
        browser = Browser()
        answer = use(browser, liar.get(challenge(browser)))
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_passkey"), (name, answer.text)
    # Changed after it was signed.
    def flip(response, member, place):
        data = bytearray(decoded(response["response"][member]))
        data[place] ^= 1
        response["response"][member] = encoded(bytes(data))

    for member, place in [("signature", -1), ("signature", 5), ("authenticatorData", 33), ("authenticatorData", 0), ("clientDataJSON", 30)]:
        browser = Browser()
        response = ada.device.get(challenge(browser))
        flip(response, member, place)
        check(use(browser, response), 400, "invalid_passkey")
    # Texts that are no response.
    browser = Browser()
    good = ada.device.get(challenge(browser))
    broken = [
        "", "x", "null", "[]", "{}", '"x"', "1e999", "[" * 8000, '{"a":' * 2000, "\u0000", json.dumps(good)[:-1], json.dumps(good) + "x",
        json.dumps({**good, "rawId": 5}), json.dumps({**good, "rawId": ""}), json.dumps({**good, "rawId": "A" * 4000}),
        json.dumps({**good, "rawId": "%%"}), json.dumps({**good, "response": None}), json.dumps({**good, "type": "password"}),
        json.dumps({**good, "response": {**good["response"], "signature": ""}}),
        json.dumps({**good, "response": {**good["response"], "authenticatorData": ""}}),
        json.dumps({**good, "response": {**good["response"], "clientDataJSON": encoded(b"\xff\xfe")}}),
        json.dumps(good).replace('"rawId"', '"rawId":"' + encoded(other.id) + '","rawId"', 1),
    ]
    for text in broken:
        browser = Browser()
        challenge(browser)
        answer = use(browser, text)
        assert answer.status_code == 400, (text[:80], answer.status_code, answer.text)
    for body in [{"credential": 5}, {"credential": good}, {"credential": ["x"]}]:
        assert Browser().post("passkeys/sign-in", body).status_code == 400
    large = Browser().post("passkeys/sign-in", {"credential": "x" * 20_000})
    assert large.status_code in (400, 413), large.status_code
    # None of it has cost ada the passkey.
    sign_in(ada.device)


def registrations():
    """Only a fresh session of the user, with its own challenge and once."""
    ada, eve = User(), User(passkey=False)
    for lie in [dict(kind="webauthn.get"), dict(flags=0x41), dict(flags=0x44), dict(origin="https://evil.example"), dict(crossOrigin=True), dict(challenge="AAAA")]:
        credential = Authenticator().create(eve.options(), **lie)
        check(eve.browser.post("passkeys/register", {"credential": json.dumps(credential)}), 400, "invalid_passkey")
    credential = Authenticator(rp="evil.example").create(eve.options())
    check(eve.browser.post("passkeys/register", {"credential": json.dumps(credential)}), 400, "invalid_passkey")
    # The challenge of ada, in the browser of eve; and in a browser where eve has signed in after ada.
    options = ada.options()
    credential = json.dumps(Authenticator().create(options))
    shared = eve.browser.copy().plant("flw-passkey-new", ada.browser, "flw-passkey-new")
    check(shared.post("passkeys/register", {"credential": credential}), 400, "invalid_passkey")
    check(ada.browser.post("passkeys/register", {"credential": credential}), 400, "invalid_flow")
    # Repeated, and in parallel.
    credential = json.dumps(Authenticator().create(eve.options()))
    copies = [eve.browser.copy() for _ in range(6)]
    done = parallel([lambda one=one: one.post("passkeys/register", {"credential": credential}) for one in copies])
    assert accepted(done, 201) == 1, [one.text for one in done]
    check(eve.browser.post("passkeys/register", {"credential": credential}), 400, "invalid_flow")
    # The identifier of ada's credential, with a key of eve: neither gets the other's account.
    collision = Authenticator(ada.device.id)
    check(eve.register(collision), 409)
    browser = sign_in(ada.device)
    assert len(check(browser.get("passkeys"), 200).json()["passkeys"]) == 1
    collision.counter = 1000
    for handle in [collision.handle, ada.device.handle]:
        browser = Browser()
        check(use(browser, collision.get(challenge(browser), handle=handle)), 400, "invalid_passkey")
    # Without a session, with the session of a guest, and with a token of another kind.
    for token in [None, "mf1_x", eve.browser.cookies()["rt"]]:
        for path in ["passkeys/register/options", "passkeys/register", "passkeys/remove"]:
            check(Browser().post(path, {"credential": credential, "id": ada.passkey}, token=token), 401)
    guest = Browser()
    check(guest.post("guest?transport=cookie"), 200)
    for path in ["passkeys/register/options", "passkeys/register", "passkeys/remove"]:
        check(guest.post(path, {"credential": credential, "id": ada.passkey}), 403)
    # A label is text of a line.
    label = "<img src=x onerror=alert(1)>\r\nSet-Cookie: x\u0000" + "x" * 500
    check(eve.register(Authenticator(), label), 201)
    kept = [one["label"] for one in eve.list() if one["label"].startswith("<img")]
    assert len(kept) == 1 and len(kept[0]) <= 100 and "\r" not in kept[0] and "\n" not in kept[0] and "\0" not in kept[0]


def limits():
    """Ten passkeys, also by registrations that began together."""
    ada = User()
    browsers = [ada.browser.copy() for _ in range(16)]
    begun = [(one, Authenticator().create(check(one.post("passkeys/register/options"), 200).json())) for one in browsers]
    done = parallel([lambda one=one, made=made: one.post("passkeys/register", {"credential": json.dumps(made)}) for one, made in begun])
    assert all(answer.status_code in (201, 409) for answer in done), [answer.text for answer in done]
    kept = len(ada.list())
    assert kept == 1 + accepted(done, 201) and kept <= 10, kept
    while kept < 10:
        check(ada.register(Authenticator()), 201)
        kept += 1
    check(ada.browser.post("passkeys/register/options"), 409)
    # A place that is free again.
    check(ada.browser.post("passkeys/remove", {"id": ada.list()[-1]["id"]}), 204)
    check(ada.register(Authenticator()), 201)


def copies():
    """A copy of an authenticator: its counter is behind."""
    ada = User()
    copied = Authenticator(ada.device.id, ada.device.key)
    copied.handle = ada.device.handle
    for _ in range(3):
        sign_in(ada.device)
    for counter in [0, 1, ada.device.counter - 1]:
        copied.counter = counter
        browser = Browser()
        check(use(browser, copied.get(challenge(browser))), 400, "invalid_passkey")
        assert not browser.is_signed_in()
    # Both with the next value at once: one of them.
    pairs = []
    for _ in range(6):
        browser = Browser()
        copied.counter = ada.device.counter
        pairs.append((browser, copied.get(challenge(browser))))
    uses = parallel([lambda one=one, made=made: use(one, made) for one, made in pairs])
    assert accepted(uses) == 1, [one.text for one in uses]


def second_step():
    """The passkey of its owner, once, on the device that gave the password."""
    ada, eve = User(), User()

    def first(user, browser):
        answer = check(browser.post("login?transport=cookie", user.login()), 403, "mfa_required").json()
        assert answer["mfa_methods"] == ["webauthn"], answer
        assert not browser.is_signed_in()
        return answer["mfa_token"]

    # The thief knows ada's password, and has a passkey.
    browser = Browser()
    token = first(ada, browser)
    check(use(browser, eve.device.get(challenge(browser)), mfa_token=token), 400, "invalid_passkey")
    assert not browser.is_signed_in()
    # Codes, and no proof at all.
    for code in ["000000", "AAAA-AAAA-AAAA-AAAA", ada.passkey]:
        assert browser.post("login/continue?transport=cookie", {"mfa_token": token, "code": code}).status_code == 400
    check(browser.post("passkeys/sign-in?transport=cookie", {"mfa_token": token}), 400)
    # Another device, and a token of another kind.
    stranger = Browser()
    check(use(stranger, ada.device.get(challenge(stranger)), mfa_token=token), 400, "invalid_grant")
    for bad in [token[:-1], token + "A", "mf1_x", ada.browser.cookies()["rt"]]:
        check(use(browser, ada.device.get(challenge(browser)), mfa_token=bad), 400, "invalid_grant")
    # Once, also in parallel.
    pairs = []
    for _ in range(5):
        copied = browser.copy()
        pairs.append((copied, ada.device.get(challenge(copied))))
    uses = parallel([lambda one=one, made=made: use(one, made, mfa_token=token) for one, made in pairs])
    assert accepted(uses) <= 1, [one.text for one in uses]
    if not accepted(uses):
        token = first(ada, browser)
        check(use(browser, ada.device.get(challenge(browser)), mfa_token=token), 200)
    check(use(browser, ada.device.get(challenge(browser)), mfa_token=token), 400, "invalid_grant")
    # All sessions end after the first step.
    browser = Browser()
    token = first(ada, browser)
    check(ada.browser.post("logout", {"scope": "all"}), 204)
    check(use(browser, ada.device.get(challenge(browser)), mfa_token=token), 400, "invalid_grant")
    # A planted session is replaced, and not raised.
    planted = User(passkey=False)
    before = planted.browser.cookies()
    check(use(planted.browser, eve.device.get(challenge(planted.browser))), 200)
    after = planted.browser.cookies()
    assert all(after[name] != before[name] for name in ["at", "rt", "csrf"])
    assert [one["label"] for one in planted.list()] == ["A phone"]


def removals():
    """A passkey of another user stays, and a removed one opens nothing."""
    ada, eve = User(), User()
    check(eve.browser.post("passkeys/remove", {"id": ada.passkey}), 404)
    check(eve.browser.post("passkeys/remove"), 400)
    for bad in ["x", "%00", "../" + ada.passkey, ada.passkey + "=", "A" * 5000, "\u0000"]:
        check(ada.browser.post("passkeys/remove", {"id": bad}), 404)
    assert len(ada.list()) == 1
    # In the middle of a sign-in.
    begun = []
    for _ in range(4):
        browser = Browser()
        begun.append((browser, ada.device.get(challenge(browser))))
    check(ada.browser.post("passkeys/remove", {"id": ada.passkey}), 204)
    check(ada.browser.post("passkeys/remove", {"id": ada.passkey}), 404)
    for browser, response in begun:
        check(use(browser, response), 400, "invalid_passkey")
    check(Browser().post("login?transport=cookie", ada.login()), 200)
    # The same authenticator for another user: it opens that account alone.
    check(eve.register(ada.device), 201)
    browser = sign_in(ada.device)
    assert len(check(browser.get("passkeys"), 200).json()["passkeys"]) == 2
    # In a race with sign-ins.
    racer = User()
    pairs = []
    for _ in range(6):
        browser = Browser()
        pairs.append((browser, racer.device.get(challenge(browser))))
    calls = [lambda one=one, made=made: use(one, made) for one, made in pairs]
    calls.insert(3, lambda: racer.browser.post("passkeys/remove", {"id": racer.passkey}))
    check(parallel(calls)[3], 204)
    browser = Browser()
    check(use(browser, racer.device.get(challenge(browser))), 400, "invalid_passkey")


def enumeration():
    """Nothing says whether a passkey or an account exists."""
    ada, plain = User(), User(passkey=False)

    def shape(answer):
        names = sorted(name.lower() for name in answer.headers if name.lower() != "date")
        return answer.status_code, names, [answer.headers[name] for name in ["Content-Type", "Content-Length", "Cache-Control"]]

    browser = Browser()
    answers = [browser.post("passkeys/options", body) for body in [{}, {"email": ada.name}, {"email": plain.name}, {"email": "nobody@example.org", "username": "x"}]]
    assert len({str(shape(answer)) for answer in answers}) == 1, [shape(answer) for answer in answers]
    public = [set(answer.json()["publicKey"]) for answer in answers]
    assert all(one == public[0] for one in public)
    assert all(not answer.json()["publicKey"].get("allowCredentials") for answer in answers)
    wrong = Authenticator(ada.device.id)
    wrong.handle = ada.device.handle
    unknown = Authenticator()
    unknown.handle = secrets.token_bytes(16)
    answers = []
    for liar in [wrong, unknown, Authenticator(ada.device.id, ada.device.key, site="https://evil.example")]:
        liar.handle = liar.handle or ada.device.handle
        browser = Browser()
        answers.append(use(browser, liar.get(challenge(browser))))
    assert len({(str(shape(answer)), answer.text) for answer in answers}) == 1, [answer.text for answer in answers]
    # A wrong password says nothing of the passkey.
    answers = [Browser().post("login", {"email": name, "password": "not this one"}) for name in [ada.name, plain.name, "nobody@example.org"]]
    assert len({(str(shape(answer)), answer.text) for answer in answers}) == 1
    # The handle in the authenticator says nothing of the address.
    assert len(ada.device.handle) == 16 and ada.name.encode() not in ada.device.handle


def cross_site():
    """Every endpoint by the cookies of a user, from another site, without the proof, and by other methods."""
    ada = User()
    acts = ["passkeys/register/options", "passkeys/register", "passkeys/remove"]
    body = {"credential": "{}", "id": ada.passkey}
    for path in acts:
        for site in ["cross-site", "same-site"]:
            check(ada.browser.post(path, body, site=site), 403)
        check(ada.browser.post(path, body, proof=False), 403)
        check(ada.browser.post(path, body, proof=False, site=None), 403)
        check(ada.browser.post(path, body, proof=False, site=None, Origin="https://evil.example"), 403)
        check(ada.browser.post(path, body, proof=False, **{"X-CSRF-Token": User().browser.cookies()["csrf"]}), 403)
        csrf = {"X-CSRF-Token": ada.browser.cookies()["csrf"]}
        plain = ada.browser.session.post(base + path, data=json.dumps(body), headers={"Content-Type": "text/plain", **csrf}, timeout=60)
        check(plain, 415)
    assert len(ada.list()) == 1
    for path in acts + ["passkeys/options", "passkeys/sign-in"]:
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]:
            answer = ada.browser.session.request(method, base + path, timeout=60)
            assert answer.status_code == 405, (method, path, answer.status_code)
    for method in ["POST", "PUT", "DELETE"]:
        assert ada.browser.session.request(method, base + "passkeys", timeout=60).status_code == 405
    for path in ["passkeys/", "/passkeys", "passkeys//options", "passkeys/./options", "PASSKEYS", "passkeys%2foptions", "passkeys/register/options/"]:
        request = requests.Request("POST", origin, json={}).prepare()
        request.url = base + path
        # A connection of its own: the server closes one whose body it did not read.
        assert Browser().session.send(request, timeout=60).status_code == 404, path
    # A cookie of the flow that another host of the domain has planted.
    twice = Browser()
    options = challenge(twice)
    header = "; ".join(["flw-passkey=planted", "flw-passkey=" + twice.cookies()["flw-passkey"]])
    answer = requests.post(base + "passkeys/sign-in", json={"credential": json.dumps(ada.device.get(options))}, headers={"Cookie": header}, timeout=60)
    assert answer.status_code == 400, answer.text


def take_over():
    """A thief registers the address of a victim, and registers passkeys at the moment of the take-over."""
    for _ in range(3):
        thief = User(verified=False)
        second = Authenticator()
        check(thief.register(second), 201)
        waiting = []
        for _ in range(4):
            browser = thief.browser.copy()
            waiting.append((browser, Authenticator(), check(browser.post("passkeys/register/options"), 200).json()))
        devices = [thief.device, second]
        stop = threading.Event()
        won = []

        def register():
            for browser, device, options in waiting:
                answer = browser.post("passkeys/register", {"credential": json.dumps(device.create(options))})
                assert answer.status_code in (201, 401, 409, 503), answer.text
                devices.append(device)
            while not stop.is_set():
                browser, device = thief.browser.copy(), Authenticator()
                answer = browser.post("passkeys/register/options")
                if answer.status_code != 200:
                    continue
                devices.append(device)
                browser.post("passkeys/register", {"credential": json.dumps(device.create(answer.json()))})

        def sign_in_again(device):
            while not stop.is_set():
                browser = Browser()
                if use(browser, device.get(challenge(browser))).status_code == 200:
                    won.append(browser)

        owner = Browser()
        check(owner.post("login/email?transport=cookie", {"email": thief.name}), 202)
        code = link(mail(thief.name, "Sign in"))
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            running = [pool.submit(register), pool.submit(sign_in_again, thief.device), pool.submit(sign_in_again, second)]
            time.sleep(0.2)
            answer = owner.post("login/code?transport=cookie", {"code": code})
            time.sleep(0.3)
            stop.set()
        for task in running:
            task.result()
        check(answer, 200)
        assert owner.is_signed_in()
        assert check(owner.get("passkeys"), 200).json()["passkeys"] == []
        for browser in [thief.browser, *won]:
            assert not browser.is_signed_in()
        for device in devices:
            browser = Browser()
            device.counter += 1000
            check(use(browser, device.get(challenge(browser))), 400, "invalid_passkey")
        # The owner registers one, without the thief's second step in the way.
        mine = Authenticator()
        options = check(owner.post("passkeys/register/options"), 200).json()
        check(owner.post("passkeys/register", {"credential": json.dumps(mine.create(options))}), 201)
        sign_in(mine)


run([challenges, responses, registrations, limits, copies, second_step, removals, enumeration, cross_site, take_over])
postbox.stop()
