"""Verifies with Authlib's RFC 9068 validator what tower-jwt-auth minted; reads one JSON document from
standard input.

{"jwks": {public keys}, "secret": unused, "tokens": [{"alg", "token"}]}

Fails on the first token that Authlib does not accept, or that it accepts after a change. The validator
takes the algorithms that joserfc recommends.
"""

import json
import sys

from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

minted = json.load(sys.stdin)


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return minted["jwks"]


validator = Validator("https://as.example", "https://api.example")


def verify(token):
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, None, None, roles=["admin"])
    return claims


verified = 0
for case in minted["tokens"]:
    alg, token = case["alg"], case["token"]
    if alg in ("RS256", "ES256"):
        claims = verify(token)
        assert claims["sub"] == "alice" and claims["client_id"] == "first-party", (alg, claims)
        head, signature = token.rsplit(".", 1)
        try:
            verify(f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}")
        except InvalidTokenError:
            pass
        else:
            raise AssertionError(f"{alg}: a forged token was accepted")
    verified += 1
print(verified)
