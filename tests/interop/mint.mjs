// Prints fresh keys and tokens made by the npm package `jose`, for tests/interop/main.rs, as one JSON
// document:
//
// {"jwks": {public keys}, "secret": for HMAC, "cases": [{"name", "alg", "token", "expect", ...}]}
//
// `expect` is "ok", with the "roles" and "scope" that must be found, or the code of the refusal.

import { randomBytes, randomUUID } from "node:crypto";

import { load } from "../support/script.mjs";

const { SignJWT, exportJWK, generateKeyPair } = await load("jose");

const ISSUER = "https://as.example";
const AUDIENCE = "https://api.example";
const PUBLIC_KEY_ALGORITHMS = [
  "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
];
const HMAC_ALGORITHMS = ["HS256", "HS384", "HS512"];

async function* cases(alg, kid, key, otherKey) {
  const now = Math.floor(Date.now() / 1000);

  async function make(name, expect, { edit = {}, signer = key, header = {}, ...found } = {}) {
    // JSON drops a claim whose value is undefined.
    const claims = {
      iss: ISSUER,
      aud: AUDIENCE,
      sub: "alice",
      iat: now,
      nbf: now,
      exp: now + 600,
      jti: randomUUID(),
      ...edit,
    };
    const token = await new SignJWT(claims)
      .setProtectedHeader({ alg, kid, ...header })
      .sign(signer);
    return { name, alg, token, expect, ...found };
  }

  const roles = ["admin", "editor"];
  const scope = "orders:read orders:write";
  yield make("good with roles and scope", "ok", { edit: { roles, scope }, roles, scope });
  yield make("good without roles and scope", "ok", { roles: [], scope: "" });
  yield make("good with a list of audiences", "ok", {
    edit: { aud: ["https://x.example", AUDIENCE] },
  });
  yield make("good as at+jwt", "ok", { header: { typ: "at+jwt" } });
  yield make("expired", "expired", {
    edit: { iat: now - 7200, nbf: now - 7200, exp: now - 3600 },
  });
  yield make("not valid yet", "not_yet_valid", { edit: { nbf: now + 3600, exp: now + 7200 } });
  yield make("wrong audience", "wrong_audience", { edit: { aud: "https://other.example" } });
  yield make("wrong issuer", "wrong_issuer", { edit: { iss: `${ISSUER}/` } });
  yield make("no audience", "missing_claim", { edit: { aud: undefined } });
  yield make("no expiry", "missing_claim", { edit: { exp: undefined } });
  yield make("signed by another key with the same kid", "invalid_signature", { signer: otherKey });
}

const keys = [];
const made = [];

for (const alg of PUBLIC_KEY_ALGORITHMS) {
  const kid = `jose-${alg}`;
  const { publicKey, privateKey } = await generateKeyPair(alg);
  const other = await generateKeyPair(alg);
  keys.push({ ...(await exportJWK(publicKey)), kid, alg, use: "sig" });
  for await (const one of cases(alg, kid, privateKey, other.privateKey)) made.push(one);
}

const secret = randomBytes(64).toString("base64url");
const otherSecret = randomBytes(64).toString("base64url");
for (const alg of HMAC_ALGORITHMS) {
  const [key, otherKey] = [secret, otherSecret].map((text) => new TextEncoder().encode(text));
  for await (const one of cases(alg, `jose-${alg}`, key, otherKey)) made.push(one);
}

console.log(JSON.stringify({ jwks: { keys }, secret, cases: made }));
