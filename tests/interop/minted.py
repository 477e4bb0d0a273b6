"""What tower-jwt-auth minted, and a change of it."""

import json
import sys


def read():
    """Reads one JSON document from standard input.

    {"jwks": {public keys}, "secret": for HMAC, "tokens": [{"alg", "token"}]}
    """
    return json.load(sys.stdin)


def refuses_forged(alg, token, verify, error):
    """Fails if a token is accepted whose signature was changed, in the first character, in which every bit counts."""
    head, signature = token.rsplit(".", 1)
    try:
        verify(alg, f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}")
    except error:
        return
    raise AssertionError(f"{alg}: a forged token was accepted")
