"""Signs in at a running auth_server with requests and Authlib; arguments: URL, name, password.

Authlib knows nothing of this server but its metadata (RFC 8414). Fails on the first answer that is
not as the standards say.
"""

import sys

import jwt
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata

base, name, password = sys.argv[1:]
well_known = requests.get(f"{base}/.well-known/oauth-authorization-server", timeout=30)
well_known.raise_for_status()
metadata = AuthorizationServerMetadata(well_known.json())
# Authlib's own check of the whole document asks for https; these are its parts that apply here.
metadata.validate_grant_types_supported()
metadata.validate_token_endpoint_auth_methods_supported()
metadata.validate_revocation_endpoint_auth_methods_supported()
assert metadata["issuer"] == base, metadata
keys = jwt.PyJWKClient(metadata["jwks_uri"])


def claims(token):
    """What the token says, verified with the published keys alone (RFC 9068)."""
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    return jwt.decode(
        token,
        keys.get_signing_key_from_jwt(token).key,
        algorithms=["EdDSA"],
        issuer=metadata["issuer"],
        audience=base,
        options={"require": ["iss", "sub", "aud", "exp", "iat", "jti", "sid"]},
    )


def me(session):
    return session.get(f"{base}/api/me", timeout=30).status_code


client = OAuth2Session(
    # A public client: it has a name and no secret.
    client_id="scripts",
    token_endpoint=metadata["token_endpoint"],
    token_endpoint_auth_method="none",
    revocation_endpoint_auth_method="none",
)
try:
    client.fetch_token(metadata["token_endpoint"], username=name, password="not this one")
    raise AssertionError("a wrong password was accepted")
except OAuthError as error:
    assert error.error == "invalid_grant", error

# The password grant.
token = client.fetch_token(metadata["token_endpoint"], username=name, password=password)
assert token["token_type"] == "Bearer" and token["expires_in"] <= 600, token
first = claims(token["access_token"])
assert first["roles"] == ["user"], first
assert me(client) == 200
assert client.get(f"{base}/api/admin/users", timeout=30).status_code == 403

# An expired token is refreshed by Authlib itself, before it is sent.
spent = dict(client.token)
client.token["expires_at"] = 1
assert me(client) == 200
assert client.token["refresh_token"] != spent["refresh_token"]
fresh = claims(client.token["access_token"])
assert fresh["sid"] == first["sid"] and fresh["jti"] != first["jti"], fresh

# RFC 7009: either token ends the session.
answer = client.revoke_token(
    metadata["revocation_endpoint"],
    token=client.token["refresh_token"],
    token_type_hint="refresh_token",
)
assert answer.status_code == 200, answer.text
assert me(client) == 401
try:
    client.refresh_token(metadata["token_endpoint"])
    raise AssertionError("a revoked token was refreshed")
except OAuthError as error:
    assert error.error == "invalid_grant", error

# The JSON endpoints with requests alone, in cookies this time.
browser = requests.Session()
# A server that refuses a request before it has read the body closes the connection.
browser.headers["Connection"] = "close"
login = browser.post(
    f"{base}/api/auth/login?transport=cookie",
    json={"email": name, "password": password},
    timeout=30,
)
assert login.status_code == 200 and "access_token" not in login.json(), login.text
assert {cookie.name for cookie in browser.cookies} == {"at", "rt", "csrf", "dvc"}
assert me(browser) == 200
proof = {"X-CSRF-Token": login.json()["csrf_token"]}
for path, headers, status in [
    ("/api/me", {}, 403),
    ("/api/auth/refresh", {}, 403),
    ("/api/me", proof, 200),
    ("/api/auth/refresh", proof, 200),
    ("/api/auth/logout", proof, 204),
]:
    answer = browser.post(base + path, headers=headers, timeout=30)
    assert answer.status_code == status, (path, headers, answer.text)
assert {cookie.name for cookie in browser.cookies} == {"dvc"}
assert me(browser) == 401
print("done")
