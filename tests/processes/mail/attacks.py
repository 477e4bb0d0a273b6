"""Attacks a running `auth_server` over HTTP: second factors, tokens from mails, remembered devices, and take-overs.

Prints the port of its SMTP server, reads the origin of the login server, and prints "done".
"""

import concurrent.futures
import json
import sys
import threading
import time
from pathlib import Path

import pyotp
import requests

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from attacker import Browser, Session, accepted, check, parallel, person, run
from postbox import Postbox, link

PASSWORD = "a password of the tests"
NEW = "another password of the tests"
postbox = Postbox()
mail, mails, origin = postbox.mail, postbox.mails, postbox.origin
Session.base = base = origin + "/api/auth/"


class Client(Session):
    """An app without cookies."""

    def __init__(self, agent="an app"):
        super().__init__()
        self.session.headers["User-Agent"] = agent
        # Cookies are kept only by `Browser`.
        self.session.cookies.set_policy(_Nothing())


class _Nothing(requests.cookies.cookielib.DefaultCookiePolicy):
    def set_ok(self, cookie, request):
        return False


app = Client()


class User:
    """A registered user with an authenticator, whose address is verified."""

    def __init__(self, word="user", verified=True, factor=True):
        self.name = person(word)
        tokens = check(app.post("register", self.login()), 201).json()
        self.access, self.refresh = tokens["access_token"], tokens["refresh_token"]
        self.device = tokens["device_token"]
        text = mail(self.name, "Confirm your address")
        if verified:
            check(app.post("email/verify", {"token": link(text)}), 204)
        if factor:
            self.enrol()

    def enrol(self):
        enrolled = check(app.post("totp", {"account": self.name}, self.access), 200).json()
        self.app = pyotp.TOTP(enrolled["secret"])
        self.used = time.time()
        confirmed = check(app.post("totp/confirm", {"code": self.app.at(self.used)}, self.access), 200)
        self.codes = confirmed.json()["recovery_codes"]

    def login(self, **more):
        return {"email": self.name, "password": PASSWORD, **more}

    def first(self, client=app, **more):
        return check(client.post("login", self.login(**more)), 403, "mfa_required").json()["mfa_token"]

    def next_code(self):
        """A code of a later time step than the used one. A clock that is ahead shows the next one already."""
        return self.app.at(max(time.time(), self.used + 30))


def second_step():
    user = User()
    token = user.first()
    code = user.codes[0]
    # Stolen from the page or the log of an app, and used elsewhere.
    check(Client("another app").post("login/continue", {"mfa_token": token, "code": code}), 400, "invalid_grant", "mfa_token_invalid")
    # As any other kind of token.
    for path, body in [("refresh", {"refresh_token": token}), ("password/reset", {"token": token, "new_password": NEW}), ("email/verify", {"token": token})]:
        assert app.post(path, body).status_code == 400, path
    for path in ["totp", "step-up", "recovery-codes", "totp/disable"]:
        check(app.post(path, {"code": code}, token), 401)
    # Changed, cut, and with the token of another kind in its place.
    for bad in [token[:-1], token + "A", "mf1_", user.refresh, user.access, token.replace("mf1_", "mf2_")]:
        check(app.post("login/continue", {"mfa_token": bad, "code": code}), 400, "invalid_grant")
    # A page of another site finishes a sign-in (login CSRF), and a form without a preflight.
    for site in ["cross-site", "same-site"]:
        check(app.post("login/continue", {"mfa_token": token, "code": code}, **{"Sec-Fetch-Site": site}), 403)
    plain = app.session.post(base + "login/continue", data=json.dumps({"mfa_token": token, "code": code}), headers={"Content-Type": "text/plain"}, timeout=60)
    check(plain, 415)
    # One token, one sign-in, whatever the codes.
    uses = [lambda code=code: app.post("login/continue", {"mfa_token": token, "code": code}) for code in user.codes[:8]]
    assert accepted(parallel(uses)) == 1
    # The first step ends with the sessions.
    token = user.first()
    check(app.post("logout", {"scope": "all"}, user.access), 204)
    check(app.post("login/continue", {"mfa_token": token, "code": user.codes[8]}), 400, "invalid_grant", "mfa_token_invalid")


def fixation():
    """A cookie or a session that was planted before the second step gains nothing by it."""
    victim, thief = User("victim"), User("thief")
    # The thief's first step in the victim's browser.
    browser = Browser()
    planted = check(browser.post("login?transport=cookie", thief.login()), 403).json()["mfa_token"]
    check(browser.post("login/continue?transport=cookie", {"mfa_token": planted, "code": victim.codes[0]}), 400, "invalid_code")
    # A session that the thief knows is replaced, and not raised.
    known = Browser()
    check(known.post("login?transport=cookie", {"email": thief.name, "password": PASSWORD}), 403)
    other = User("other", factor=False)
    check(known.post("login?transport=cookie", other.login()), 200)
    before = {c.name: c.value for c in known.session.cookies}
    token = check(known.post("login?transport=cookie", victim.login()), 403).json()["mfa_token"]
    assert {c.name: c.value for c in known.session.cookies}["rt"] == before["rt"]
    check(known.post("login/continue?transport=cookie", {"mfa_token": token, "code": victim.codes[0]}), 200)
    after = {c.name: c.value for c in known.session.cookies}
    assert all(after[name] != before[name] for name in ["at", "rt", "csrf"])
    # The token of the first step without its cookie.
    copied = check(known.post("login?transport=cookie", victim.login()), 403).json()["mfa_token"]
    for client in [Browser(), app]:
        check(client.post("login/continue", {"mfa_token": copied, "code": victim.codes[1]}), 400, "invalid_grant", "mfa_token_invalid")


def codes():
    user = User()
    spent = user.app.at(user.used)
    token = user.first()
    for bad in [spent, "", "000000 ", "abcdef", "１２３４５６", spent + "0", "0" * 500]:
        answer = app.post("login/continue", {"mfa_token": token, "code": bad})
        assert answer.status_code == 400, (bad, answer.text)
    # One code of the app, in many sign-ins at once.
    tokens = [user.first() for _ in range(8)]
    code = user.next_code()
    uses = parallel([lambda t=t: app.post("login/continue", {"mfa_token": t, "code": code}) for t in tokens])
    assert accepted(uses) == 1, [use.text for use in uses]
    # One recovery code, in many sign-ins and on other endpoints at once.
    code = user.codes[0]
    tokens = [user.first() for _ in range(6)]
    uses = [lambda t=t: app.post("login/continue", {"mfa_token": t, "code": code}) for t in tokens]
    uses += [lambda path=path: app.post(path, {"code": code}, user.access) for path in ["step-up", "recovery-codes"]]
    assert accepted(parallel(uses)) == 1
    # Codes and recovery codes of another user.
    other = User()
    token = other.first()
    for code in [user.codes[1], user.next_code()]:
        check(app.post("login/continue", {"mfa_token": token, "code": code}), 400, "invalid_code")


def guessing():
    """A hundred wrong codes, from many networks and with the devices of others."""
    user, helper = User(), User()
    token = helper.first()
    proved = check(app.post("login/continue", {"mfa_token": token, "code": helper.codes[0]}), 200).json()["device_token"]
    wrong = next(code for code in (f"{n:06}" for n in range(10**6)) if not any(user.app.at(user.used + 30 * step) == code for step in range(-3, 9)))

    def guess(_):
        mine = user.first(device_token=proved)
        return app.post("login/continue", {"mfa_token": mine, "code": wrong, "device_token": proved})

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(guess, range(115)))
    tried = sum(answer.status_code == 400 for answer in statuses)
    assert tried <= 100, tried
    assert statuses[-1].status_code in (429, 503)
    check(app.post("login/continue", {"mfa_token": user.first(), "code": user.next_code()}), 429, "slow_down")
    # The owner has another way in, and a success does not open the door for guesses.
    check(app.post("login/continue", {"mfa_token": user.first(), "code": user.codes[0]}), 200)
    check(app.post("login/continue", {"mfa_token": user.first(), "code": user.next_code()}), 429, "slow_down")


def tokens_of_mails():
    user, other = User(factor=False), User(factor=False)
    app.post("password/forgot", {"email": user.name})
    reset = link(mail(user.name, "Set a new password"))
    change = {"new_email": person("new"), "current_password": PASSWORD}
    check(app.post("email/change", change, user.access), 202)
    changed = link(mail(change["new_email"], "Confirm your new address"))
    flow = check(app.post("login/email", {"email": user.name}), 202).json()["flow"]
    code = link(mail(user.name, "Sign in"))
    # For another purpose. None of them is spent by it.
    for path in ["email/verify", "email/confirm"]:
        check(app.post(path, {"token": reset}), 400, "invalid_link")
    for path in ["email/verify"]:
        check(app.post(path, {"token": changed}), 400, "invalid_link")
    check(app.post("password/reset", {"token": changed, "new_password": NEW}), 400, "invalid_link")
    for stolen in [flow, code, reset[:-1], reset.lower(), reset + "\u0000", " " + reset, "", reset * 200]:
        assert app.post("password/reset", {"token": stolen, "new_password": NEW}).status_code == 400
    # With the flow of another client, and of another user.
    foreign = check(app.post("login/email", {"email": other.name}), 202).json()["flow"]
    for stolen in [foreign, reset, changed]:
        check(app.post("login/code", {"flow": stolen, "code": code}), 400, "invalid_code")
    # Twice at once, and against another token of the same user.
    uses = parallel([lambda: app.post("login/code", {"flow": flow, "code": code})] * 8)
    assert accepted(uses) == 1
    uses = parallel([lambda: app.post("password/reset", {"token": reset, "new_password": NEW})] * 8)
    assert accepted(uses, 204) == 1
    # The new password invalidates the rest.
    check(app.post("email/confirm", {"token": changed}), 400, "invalid_link")
    # Guesses of a flow: five, also in parallel.
    flow = check(app.post("login/email", {"email": other.name}), 202).json()["flow"]
    right = link(mail(other.name, "Sign in", 2))
    wrong = f"{(int(right) + 1) % 10**8:08}"
    guesses = parallel([lambda: app.post("login/code", {"flow": flow, "code": wrong})] * 20)
    assert accepted(guesses) == 0
    check(app.post("login/code", {"flow": flow, "code": right}), 400, "invalid_code")


def headers_of_mails():
    """Text of a client in a mail: only the address of the record, and never a header."""
    before = set(mails)
    for evil in [
        "eve@example.org\r\nBcc: victim@example.org", "eve@example.org\nSubject: hi", "eve@example.org%0d%0aBcc:x@example.org",
        "\"eve\r\nBcc: x\"@example.org", "eve@example.org,victim@example.org", "eve@example.org>, <victim@example.org",
        "Eve <eve@example.org>", "eve@example.org\u2028Bcc: x@example.org", "eve@example.org\u0000", "eve@[127.0.0.1]",
        "eve@example.org;victim@example.org", "eve@exa\rmple.org", "=?utf-8?q?eve?=@example.org\r\n", "eve @example.org",
    ]:
        for path, body in [
            ("register", {"email": evil, "password": PASSWORD}),
            ("password/forgot", {"email": evil}),
            ("login/email", {"email": evil}),
            ("email/verification", {"email": evil}),
        ]:
            answer = app.post(path, body)
            if "=" in evil.split("@")[0] or "%" in evil:
                continue
            # A name that is no address is registered, and gets no mail.
            assert answer.status_code in (400, 201, 202), (evil, path, answer.status_code)
    time.sleep(0.5)
    for to in set(mails) - before:
        for envelope, message in mails[to]:
            assert message["Bcc"] is None and message["Cc"] is None, message
            assert "victim" not in message.as_string(), message
            assert len(message.get_all("To")) == 1 == len(message.get_all("Subject")), message
    user = User(factor=False)
    evil = "de\r\nBcc: x"
    hosts = {"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Origin": origin, "Accept-Language": "x" * 3000}
    app.post("password/forgot", {"email": user.name}, **hosts)
    text = mail(user.name, "Set a new password")
    assert "evil" not in text and text.count(origin) == 1, text
    assert evil not in text


def spellings():
    """One address has one counter and one recipient."""
    user = User(factor=False)
    local, domain = user.name.split("@")
    seen = []
    spelled = [user.name, user.name.upper(), f" {user.name} ", f"{local}@{domain.title()}", "\uff41" + local[1:] + "@" + domain if local[0] == "a" else user.name]
    for name in spelled:
        seen.append(app.post("password/forgot", {"email": name}).status_code)
    assert seen == [202] * 5, seen
    # The sixth is refused in every spelling, and from every network.
    for name in [user.name, user.name.upper(), f"\t{user.name}"]:
        check(app.post("password/forgot", {"email": name}), 429, "slow_down")
    # Look-alikes are other addresses: nothing is sent to them, nor to the user.
    before = len(mails[user.name])
    for name in [user.name.replace("e", "\u0435"), user.name + ".", f"{local}+x@{domain}", f"{local}@sub.{domain}", user.name.replace("@", "\uff20")]:
        app.post("login/email", {"email": name})
    time.sleep(0.5)
    assert all("Sign in" not in message["Subject"] for _, message in mails[user.name][before:]) or "\uff20" in name
    assert not [to for to in mails if to.endswith(".") or "\u0435" in to or "+x" in to or "sub." in to]


def floods():
    """Mails to one address, by every endpoint that sends one."""
    victim = User("flooded", factor=False)
    accomplices = [User("accomplice", factor=False) for _ in range(7)]
    stranger = person("stranger")
    calls = [lambda path=path: app.post(path, {"email": victim.name}) for path in ["password/forgot", "email/verification", "login/email"] for _ in range(12)]
    calls += [lambda who=who: app.post("email/change", {"new_email": stranger, "current_password": PASSWORD}, who.access) for who in accomplices]
    calls += [lambda: app.post("login", victim.login()) for _ in range(20)]
    parallel(calls)
    mail(victim.name, "A new device signed in")
    time.sleep(1.5)
    subjects = {}
    for _, message in mails[victim.name] + mails.get(stranger, []):
        subjects[message["Subject"]] = subjects.get(message["Subject"], 0) + 1
    assert max(subjects.values()) <= 5, subjects


def cross_site():
    """Every endpoint, by the cookies of a user, from another site and without the proof."""
    user = User(factor=False)
    browser = Browser()
    check(browser.post("login?transport=cookie", user.login()), 200)
    acts = ["totp", "totp/confirm", "totp/disable", "recovery-codes", "step-up", "email/change", "password", "refresh", "logout"]
    for path in acts:
        for site in ["cross-site", "same-site"]:
            check(browser.post(path, {"code": "123456"}, site=site), 403)
        check(browser.post(path, {"code": "123456"}, proof=False, site=None, Origin="https://evil.example"), 403)
        check(browser.post(path, {"code": "123456"}, proof=False, site=None), 403)
    for path in ["login", "register", "login/email", "login/code", "login/continue", "password/forgot", "password/reset", "email/verification", "email/verify", "email/confirm", "guest"]:
        for site in ["cross-site", "same-site"]:
            answer = browser.post(path, {"email": user.name, "password": PASSWORD, "token": "x", "code": "x", "flow": "x", "mfa_token": "x"}, site=site)
            assert answer.status_code == 403, (path, answer.status_code)
    for path in acts[:6] + ["login/continue", "login/code", "password/reset", "email/verify", "email/confirm"]:
        for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]:
            if path == "totp" and method == "GET":
                continue
            answer = browser.session.request(method, base + path + "?token=x&code=x", timeout=60)
            assert answer.status_code == 405, (method, path, answer.status_code)
    for path in ["login/continue/", "/login/continue", "login//continue", "login/./continue", "LOGIN/CONTINUE", "login%2fcontinue"]:
        request = browser.session.prepare_request(requests.Request("POST", origin, json={}))
        request.url = base + path
        assert browser.session.send(request, timeout=60).status_code == 404, path
    check(browser.post("refresh"), 200)


def remembered_devices():
    thief, victim = User("thief"), User("victim")

    def remembered(user):
        body = {"mfa_token": user.first(), "code": user.codes.pop(), "remember": True}
        return check(app.post("login/continue", body), 200).json()

    mine, theirs = remembered(thief), remembered(victim)
    check(app.post("login", thief.login(remember_token=mine["remember_token"])), 200)
    # Of another account, of another kind, changed.
    for stolen in [mine["remember_token"], theirs["device_token"], theirs["refresh_token"], theirs["remember_token"][:-1], theirs["remember_token"].swapcase(), "rd1_" + "0" * 43]:
        check(app.post("login", victim.login(remember_token=stolen)), 403, "mfa_required")
    # It is no proof of anything else, and no password.
    for path in ["step-up", "totp/disable", "recovery-codes"]:
        check(app.post(path, {"code": theirs["remember_token"]}, theirs["access_token"]), 400, "invalid_code")
    check(app.post("login", {"email": victim.name, "password": theirs["remember_token"], "remember_token": theirs["remember_token"]}), 401)
    check(app.post("refresh", {"refresh_token": theirs["remember_token"]}), 400, "invalid_grant")
    # Its session has no second factor: a change of factors needs a code.
    session = check(app.post("login", victim.login(remember_token=theirs["remember_token"])), 200).json()
    check(app.post("totp/disable", {"code": "123456"}, session["access_token"]), 400, "invalid_code")
    # A wrong code remembers nothing, and neither does a spent step.
    token = victim.first()
    check(app.post("login/continue", {"mfa_token": token, "code": "AAAA-AAAA-AAAA-AAAA", "remember": True}), 400, "invalid_code")
    # In the race with the end of all sessions, no token survives.
    tokens = [victim.first() for _ in range(4)]
    calls = [lambda t=t, c=c: app.post("login/continue", {"mfa_token": t, "code": c, "remember": True}) for t, c in zip(tokens, victim.codes)]
    answers = parallel(calls + [lambda: app.post("logout", {"scope": "all"}, session["access_token"])])
    check(answers[-1], 204)
    earlier = [answer.json()["remember_token"] for answer in answers[:-1] if answer.status_code == 200] + [theirs["remember_token"]]
    for token in earlier:
        check(app.post("login", victim.login(remember_token=token)), 403, "mfa_required")


def take_over():
    """A thief registers the address of a victim, and does everything at the moment of the take-over."""
    for by_code in [True, False]:
        thief = User("victim", verified=False)
        device = check(app.post("login/continue", {"mfa_token": thief.first(), "code": thief.codes[0], "remember": True}), 200).json()
        steps = [thief.first() for _ in range(3)]
        app.post("email/change", {"new_email": person("thief"), "current_password": PASSWORD}, thief.access)
        stop = threading.Event()
        won = []

        def hammer(act):
            while not stop.is_set():
                answer = act()
                if answer.status_code == 200:
                    won.append(answer.json())

        acts = [
            lambda: app.post("login", thief.login(remember_token=device["remember_token"])),
            lambda: app.post("token", {"username": thief.name, "password": PASSWORD, "remember_token": device["remember_token"]}),
            lambda: app.post("step-up", {"code": thief.codes[-1]}, thief.access),
            lambda: app.post("totp", {}, thief.access),
            lambda: app.post("email/change", {"new_email": person("thief"), "current_password": PASSWORD}, thief.access),
            lambda: app.post("password", {"current_password": PASSWORD, "new_password": PASSWORD}, device["access_token"]),
        ]
        if by_code:
            # A change of the password ends the flow of the code as well. It is attacked on the other way.
            acts.pop()
        with concurrent.futures.ThreadPoolExecutor(len(acts)) as pool:
            running = [pool.submit(hammer, act) for act in acts]
            if by_code:
                flow = check(app.post("login/email", {"email": thief.name}), 202).json()["flow"]
                body = {"flow": flow, "code": link(mail(thief.name, "Sign in"))}
                owner = app.post("login/code", body)
                time.sleep(0.3)
            else:
                for count in range(1, 6):
                    check(app.post("password/forgot", {"email": thief.name}), 202)
                    body = {"token": link(mail(thief.name, "Set a new password", count)), "new_password": NEW}
                    answer = app.post("password/reset", body)
                    if answer.status_code == 204:
                        break
                assert answer.status_code == 204, answer.text
                time.sleep(0.3)
                owner = app.post("login", {"email": thief.name, "password": NEW})
            stop.set()
        for task in running:
            task.result()
        owner = check(owner, 200).json()
        # Whatever the thief won is over.
        for tokens in [{"access_token": thief.access, "refresh_token": thief.refresh}, device, *won]:
            if "access_token" not in tokens:
                continue
            answer = app.session.get(base + "sessions", headers={"Authorization": "Bearer " + tokens["access_token"]}, timeout=60)
            assert answer.status_code == 401, answer.text
            check(app.post("refresh", {"refresh_token": tokens["refresh_token"]}), 400, "invalid_grant")
        check(app.post("login", thief.login(remember_token=device["remember_token"])), 401)
        for step in steps:
            check(app.post("login/continue", {"mfa_token": step, "code": thief.codes[3]}), 400, "invalid_grant")
        for name in list(mails):
            changes = [message for _, message in mails[name] if "Confirm your new address" in message["Subject"]]
            for message in changes if name.startswith("thief") else []:
                check(app.post("email/confirm", {"token": link(message.get_content())}), 400, "invalid_link")
        # No authenticator of the thief, neither confirmed nor waiting for its first code.
        state = app.session.get(base + "totp", headers={"Authorization": "Bearer " + owner["access_token"]}, timeout=60)
        assert state.json() == {"totp": False, "recovery_codes": 0}, state.text
        check(app.post("totp/confirm", {"code": thief.app.now()}, owner["access_token"]), 400, "invalid_request")


run([second_step, fixation, codes, guessing, tokens_of_mails, headers_of_mails, spellings, floods, cross_site, remembered_devices, take_over])
postbox.stop()
