"""Drives every mail flow of `auth_server` over HTTP, with an SMTP server that keeps what it gets.

Prints the port of the SMTP server, reads the origin of the login server, and prints "done".
"""

import queue
import re
import sys
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from attacker import alone, check, parallel, patiently
from postbox import Postbox

ADA = "ada@example.org"
PASSWORD = "a password of the tests"
NEW = "another password of the tests"
mails = queue.Queue()
# Notices of new devices follow a sign-in in the background.
notices = queue.Queue()


class InOrder(Postbox):
    def keep(self, envelope, message):
        (notices if message["Subject"].startswith("A new device") else mails).put((envelope, message))


postbox = InOrder(refused=["refused@example.org"])
origin = postbox.origin
base = origin + "/api/auth/"
client = alone(requests.Session())
client.trust_env = False


def post(path, body, token=None, **headers):
    if token:
        headers["Authorization"] = "Bearer " + token
    return patiently(lambda: client.post(base + path, json=body, headers=headers, timeout=60, allow_redirects=False))


def mail(to, word):
    """Returns the next mail, which must have this recipient and this word in its subject."""
    envelope, message = mails.get(timeout=60)
    assert envelope.rcpt_tos == [to], envelope.rcpt_tos
    assert envelope.mail_from == "no-reply@example.org", envelope.mail_from
    assert message["To"] == to and message["From"] == "no-reply@example.org", message
    assert word in message["Subject"], message["Subject"]
    return message.get_content()


def link(text, page):
    """Returns the token of the link to a page of this server."""
    found = re.findall(re.escape(origin + page) + r"=(\S+)", text)
    assert len(found) == 1 and text.count("http") == 1, text
    return found[0]


def all_at_once(path, body, times=12):
    """Uses one token many times at once. One use succeeds."""
    answers = parallel([lambda: patiently(lambda: requests.post(base + path, json=body, timeout=60))] * times)
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [204] + [400] * (times - 1), statuses


def same(path):
    """Known, unknown and odd spellings get one response."""
    answers = [
        check(post(path, {"email": name}, Host="evil.example"), 202)
        for name in (ADA, "nobody@example.org", "ADA@EXAMPLE.ORG ")
    ]
    shown = {
        (answer.status_code, answer.content, tuple(sorted((k, v) for k, v in answer.headers.items() if k != "date")))
        for answer in answers
    }
    assert len(shown) == 1, shown


def verification():
    tokens = check(post("register", {"email": "eve@example.org", "password": PASSWORD}), 201).json()
    token = link(mail("eve@example.org", "Confirm your address"), "/verify-email#token")
    check(post("email/verify", {"token": token[:-1]}), 400, "invalid_link")
    check(post("password/reset", {"token": token, "new_password": NEW}), 400, "invalid_link")
    all_at_once("email/verify", {"token": token})
    check(post("email/verification", {"email": "eve@example.org"}), 202)
    return tokens


def reset():
    old = check(post("login", {"email": ADA, "password": PASSWORD}), 200).json()
    same("password/forgot")
    first, second = (link(mail(ADA, "Set a new password"), "/reset-password#token") for _ in range(2))
    # What a mail scanner does.
    assert client.get(base + "password/reset", params={"token": first}, timeout=60).status_code == 405
    check(post("password/reset", {"token": first, "new_password": "short"}), 400, "invalid_request")
    all_at_once("password/reset", {"token": first, "new_password": NEW})
    mail(ADA, "password")
    check(post("password/reset", {"token": first, "new_password": PASSWORD}), 400, "invalid_link")
    check(post("password/reset", {"token": second, "new_password": PASSWORD}), 400, "invalid_link")
    check(post("refresh", {"refresh_token": old["refresh_token"]}), 400, "invalid_grant")
    check(post("login", {"email": ADA, "password": PASSWORD}), 401)
    return check(post("login", {"email": ADA, "password": NEW}), 200).json()


def change(tokens):
    body = {"new_email": "ada@new.example", "current_password": "wrong"}
    check(post("email/change", body, tokens["access_token"]), 400, "invalid_password")
    check(post("email/change", body), 401)
    body["current_password"] = NEW
    check(post("email/change", body, tokens["access_token"]), 202)
    texts = {}
    for _ in range(2):
        envelope, message = mails.get(timeout=60)
        texts[envelope.rcpt_tos[0]] = message.get_content()
    assert sorted(texts) == [ADA, "ada@new.example"], texts
    assert "http" not in texts[ADA]
    token = link(texts["ada@new.example"], "/change-email#token")
    all_at_once("email/confirm", {"token": token})
    mail(ADA, "was changed")
    check(post("login", {"email": ADA, "password": NEW}), 401)
    check(post("login", {"email": "ada@new.example", "password": NEW}), 200)


def sign_in(name):
    asked = check(post("login/email", {"email": name}), 202).json()
    unknown = check(post("login/email", {"email": "nobody@example.org"}), 202).json()
    assert asked.keys() == unknown.keys() and len(asked["flow"]) == len(unknown["flow"])
    text = mail(name, "Sign in")
    code = link(text, "/sign-in#code")
    assert re.fullmatch(r"\d{8}", code) and text.count(code) == 2, text
    stolen = {"code": code, "flow": unknown["flow"]}
    check(post("login/code", stolen), 400, "invalid_code")
    wrong = {"code": f"{(int(code) + 1) % 10**8:08}", "flow": asked["flow"]}
    check(post("login/code", wrong), 400, "invalid_code")
    right = {"code": code, "flow": asked["flow"]}
    tokens = check(post("login/code", right), 200).json()
    check(post("login/code", right), 400, "invalid_code")
    check(post("refresh", {"refresh_token": tokens["refresh_token"]}), 200)


def limits():
    for number in range(6):
        answer = post("password/forgot", {"email": "nobody@elsewhere.example"})
        check(answer, 202 if number < 5 else 429)
    assert int(answer.headers["Retry-After"]) > 3000


def refused():
    """A relay that refuses a mail changes no response, and the next mail is sent."""
    check(post("register", {"email": "refused@example.org", "password": PASSWORD}), 201)
    check(post("register", {"email": "bob@example.org", "password": PASSWORD}), 201)
    mail("bob@example.org", "Confirm your address")


def new_devices():
    """The second sign-in without a device token was announced, without a link."""
    envelope, message = notices.get(timeout=60)
    text = message.get_content()
    # The take-over by the reset makes the next sign-in the first one.
    assert envelope.rcpt_tos == ["ada@new.example"] and "http" not in text, text
    assert re.search(r"Time: \d{4}-\d\d-\d\d \d\d:\d\d UTC\r?\nNetwork: 127\.0\.0\.0/24", text), text


verification()
change(reset())
new_devices()
sign_in("ada@new.example")
limits()
refused()
time.sleep(0.5)
assert mails.empty(), mails.get()
postbox.stop()
print("done")
