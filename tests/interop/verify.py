"""Verifies with PyJWT what tower-jwt-auth minted; reads one JSON document from standard input.

{"jwks": {public keys}, "secret": for HMAC, "tokens": [{"alg", "token"}]}

Fails on the first token that PyJWT does not accept, or that it accepts after a change.
"""

import json
import sys

import jwt

ISSUER = "https://as.example"
AUDIENCE = "https://api.example"

minted = json.load(sys.stdin)
keys = jwt.PyJWKSet.from_dict(minted["jwks"])


def verify(alg, token):
    header = jwt.get_unverified_header(token)
    assert header["alg"] == alg and header["typ"] == "at+jwt", header
    key = minted["secret"] if alg.startswith("HS") else keys[header["kid"]].key
    required = ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]
    return jwt.decode(
        token,
        key,
        algorithms=[alg],
        issuer=ISSUER,
        audience=AUDIENCE,
        options={"require": required},
    )


for case in minted["tokens"]:
    alg, token = case["alg"], case["token"]
    claims = verify(alg, token)
    assert claims["sub"] == "alice" and claims["roles"] == ["admin"], (alg, claims)
    try:
        # The first character of the signature, in which every bit counts.
        head, signature = token.rsplit(".", 1)
        verify(alg, f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}")
    except jwt.InvalidTokenError:
        continue
    raise AssertionError(f"{alg}: a forged token was accepted")
print(len(minted["tokens"]))
