"""Verifies with PyJWT what tower-jwt-auth minted.

Fails on the first token that PyJWT does not accept, or that it accepts after a change.
"""

import jwt

from minted import read, refuses_forged

ISSUER = "https://as.example"
AUDIENCE = "https://api.example"

minted = read()
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
    refuses_forged(alg, token, verify, jwt.InvalidTokenError)
print(len(minted["tokens"]))
