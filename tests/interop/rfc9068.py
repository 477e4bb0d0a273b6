"""Verifies with Authlib's RFC 9068 validator what tower-jwt-auth minted.

Fails on the first token that Authlib does not accept, or that it accepts after a change. The validator
takes the algorithms that joserfc recommends.
"""

from authlib.oauth2.rfc6750.errors import InvalidTokenError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator

from minted import read, refuses_forged

minted = read()


class Validator(JWTBearerTokenValidator):
    def get_jwks(self):
        return minted["jwks"]


validator = Validator("https://as.example", "https://api.example")


def verify(_, token):
    claims = validator.authenticate_token(token)
    validator.validate_token(claims, None, None, roles=["admin"])
    return claims


verified = 0
for case in minted["tokens"]:
    alg, token = case["alg"], case["token"]
    if alg in ("RS256", "ES256"):
        claims = verify(alg, token)
        assert claims["sub"] == "alice" and claims["client_id"] == "first-party", (alg, claims)
        refuses_forged(alg, token, verify, InvalidTokenError)
    verified += 1
print(verified)
