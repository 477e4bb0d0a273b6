"""Enrols an authenticator and signs in with it at a running auth_server, with pyotp.

Arguments: URL, name, password. Fails on the first answer that is not as documented.
"""

import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import jwt
import pyotp
import requests

base, name, password = sys.argv[1:]
api = f"{base}/api/auth"
login = {"email": name, "password": password}


def post(path, body, token=None, session=requests):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return session.post(f"{api}/{path}", json=body, headers=headers, timeout=30)


def check(answer, status, error=None):
    assert answer.status_code == status, (status, answer.status_code, answer.text)
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json().get("error") == error if answer.content else error is None, answer.text
    return answer.json() if answer.content else None


def claims(token):
    return jwt.decode(token, options={"verify_signature": False})


other = check(post("login", login), 200)
tokens = check(post("login", login), 200)
access = tokens["access_token"]
assert claims(access)["amr"] == ["pwd"]

# Enrolment: pyotp reads the URL that an authenticator app reads.
enrolled = check(post("totp", {"account": name}, access), 200)
url = enrolled["otpauth_url"]
app = pyotp.parse_uri(url)
assert isinstance(app, pyotp.TOTP), url
assert app.secret == enrolled["secret"] and app.name == name, url
assert (app.digits, app.interval) == (6, 30), url
assert re.match(r"<svg .*</svg>$", enrolled["qr_svg"], re.S)
check(post("totp/confirm", {"code": "000000" if app.now() != "000000" else "1"}, access), 400, "invalid_code")
first = app.now()
codes = check(post("totp/confirm", {"code": first}, access), 200)["recovery_codes"]
assert len(codes) == len(set(codes)) == 10
assert requests.get(f"{api}/totp", headers={"Authorization": f"Bearer {access}"}, timeout=30).json() == {
    "totp": True,
    "recovery_codes": 10,
}
# The other session has ended.
check(post("refresh", {"refresh_token": other["refresh_token"]}), 400, "invalid_grant")


def first_step():
    answer = check(post("login", login), 403, "mfa_required")
    assert answer["mfa_methods"] == ["totp", "recovery_code"] and answer["expires_in"] == 300
    return answer["mfa_token"]


# The password grant asks as well.
grant = {"grant_type": "password", "username": name, "password": password}
answer = requests.post(f"{api}/token", data=grant, timeout=30)
check(answer, 400, "mfa_required")

# A code that was used, then the one of the next step, which a clock that is ahead shows already.
step = first_step()
check(post("login/continue", {"mfa_token": step, "code": first}), 400, "invalid_code")
next_code = app.at(time.time() + 30)
tokens = check(post("login/continue", {"mfa_token": step, "code": next_code}), 200)
assert claims(tokens["access_token"])["amr"] == ["pwd", "otp"]
check(post("login/continue", {"mfa_token": step, "code": codes[0]}), 400, "invalid_grant")
check(post("login/continue", {"mfa_token": first_step(), "code": next_code}), 400, "invalid_code")

# Stolen: another client has another User-Agent, another browser lacks the cookie.
step = first_step()
thief = requests.Session()
thief.headers["Connection"] = "close"
thief.headers["User-Agent"] = "another client"
check(post("login/continue", {"mfa_token": step, "code": codes[0]}, session=thief), 400, "invalid_grant")
browser = requests.Session()
# A server that refuses a request before it has read the body closes the connection.
browser.headers["Connection"] = "close"
answer = check(post("login?transport=cookie", login, session=browser), 403, "mfa_required")
body = {"mfa_token": answer["mfa_token"], "code": codes[0]}
check(post("login/continue?transport=cookie", body), 400, "invalid_grant")
answer = check(post("login/continue?transport=cookie", body, session=browser), 200)
assert "access_token" not in answer and {"at", "rt", "csrf", "dvc"} <= {c.name for c in browser.cookies}

# Parallel: one of many.
step = first_step()
with ThreadPoolExecutor(8) as pool:
    tries = [{"mfa_token": step, "code": code} for code in codes[1:9]]
    answers = list(pool.map(lambda body: post("login/continue", body), tries))
assert sorted(a.status_code for a in answers) == [200] + [400] * 7, [a.text for a in answers]
used = next(code for code, answer in zip(codes[1:9], answers) if answer.status_code == 200)

# Step-up: the old session ends, and its refresh token inherits nothing.
left = [code for code in codes[1:] if code != used]
answer = check(post("step-up", {"code": left[0].lower().replace("-", " ")}, access), 200)
raised = claims(answer["access_token"])
assert raised["amr"] == ["pwd", "otp"] and raised["sid"] != claims(access)["sid"]
check(post("step-up", {"code": left[1]}, access), 401, "invalid_token")

# Too many wrong codes: the account waits, a recovery code helps.
step = first_step()
wrong = next(code for code in ("000000", "111111", "222222") if not app.verify(code, valid_window=3))
for _ in range(200):
    answer = post("login/continue", {"mfa_token": step, "code": wrong})
    if answer.status_code == 429:
        break
    check(answer, 400, "invalid_code")
check(answer, 429, "slow_down")
assert int(answer.headers["retry-after"]) > 80_000
tokens = check(post("login/continue", {"mfa_token": step, "code": left[1]}), 200)

# Off again.
access = tokens["access_token"]
check(post("totp/disable", {"code": left[1]}, access), 400, "invalid_code")
check(post("totp/disable", {"code": left[2]}, access), 204)
check(post("login", login), 200)
assert unquote(url).count(enrolled["secret"]) == 1
print("done")
