"""Prints fresh keys and tokens made by PyJWT, for tests/interop/main.rs, as one JSON document.

{"jwks": {public keys}, "secret": for HMAC, "cases": [{"name", "alg", "token", "expect", ...}]}

`expect` is "ok", with the "roles" and "scope" that must be found, or the code of the refusal.
"""

import json
import secrets
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ISSUER = "https://as.example"
AUDIENCE = "https://api.example"


def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


PUBLIC_KEY_ALGORITHMS = {
    "RS256": rsa_key,
    "RS384": rsa_key,
    "RS512": rsa_key,
    "PS256": rsa_key,
    "PS384": rsa_key,
    "PS512": rsa_key,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"]


def cases(alg, kid, key, other_key):
    now = int(time.time())

    def case(name, expect, *, edit=None, drop=(), signer=key, header=None, **found):
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": "alice",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
            "jti": secrets.token_hex(8),
            **(edit or {}),
        }
        for claim in drop:
            del claims[claim]
        headers = {"kid": kid, **(header or {})}
        token = jwt.encode(claims, signer, algorithm=alg, headers=headers)
        return {"name": name, "alg": alg, "token": token, "expect": expect, **found}

    roles = {"roles": ["admin", "editor"], "scope": "orders:read orders:write"}
    yield case("good with roles and scope", "ok", edit=roles, roles=roles["roles"], scope=roles["scope"])
    yield case("good without roles and scope", "ok", roles=[], scope="")
    yield case("good with a list of audiences", "ok", edit={"aud": ["https://x.example", AUDIENCE]})
    yield case("good as at+jwt", "ok", header={"typ": "at+jwt"})
    yield case("expired", "expired", edit={"iat": now - 7200, "nbf": now - 7200, "exp": now - 3600})
    yield case("not valid yet", "not_yet_valid", edit={"nbf": now + 3600, "exp": now + 7200})
    yield case("wrong audience", "wrong_audience", edit={"aud": "https://other.example"})
    yield case("wrong issuer", "wrong_issuer", edit={"iss": ISSUER + "/"})
    yield case("no audience", "missing_claim", drop=["aud"])
    yield case("no expiry", "missing_claim", drop=["exp"])
    yield case("signed by another key with the same kid", "invalid_signature", signer=other_key)


def main():
    made, keys = [], []
    for alg, generate in PUBLIC_KEY_ALGORITHMS.items():
        key, kid = generate(), f"pyjwt-{alg}"
        public = jwt.get_algorithm_by_name(alg).to_jwk(key.public_key(), as_dict=True)
        keys.append({**public, "kid": kid, "alg": alg, "use": "sig"})
        made.extend(cases(alg, kid, key, generate()))
    secret, other_secret = secrets.token_urlsafe(64), secrets.token_urlsafe(64)
    for alg in HMAC_ALGORITHMS:
        made.extend(cases(alg, f"pyjwt-{alg}", secret, other_secret))
    print(json.dumps({"jwks": {"keys": keys}, "secret": secret, "cases": made}))


main()
