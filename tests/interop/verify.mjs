// Verifies with the npm package `jose` what tower-jwt-auth minted; reads one JSON document from
// standard input:
//
// {"jwks": {public keys}, "secret": for HMAC, "tokens": [{"alg", "token"}]}
//
// Fails on the first token that jose does not accept, or that it accepts after a change.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const resolved = createRequire(import.meta.url).resolve("jose");
const { createLocalJWKSet, jwtVerify } = await import(pathToFileURL(resolved).href);

const minted = JSON.parse(readFileSync(0, "utf8"));
const published = createLocalJWKSet(minted.jwks);
const secret = new TextEncoder().encode(minted.secret);

function verify(alg, token) {
  return jwtVerify(token, alg.startsWith("HS") ? secret : published, {
    algorithms: [alg],
    issuer: "https://as.example",
    audience: "https://api.example",
    typ: "at+jwt",
    requiredClaims: ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"],
  });
}

for (const { alg, token } of minted.tokens) {
  const { payload } = await verify(alg, token);
  if (payload.sub !== "alice" || payload.roles[0] !== "admin") throw new Error(`${alg}: claims`);
  const at = token.lastIndexOf(".") + 1;
  const forged = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
  const accepted = await verify(alg, forged).then(() => true, () => false);
  if (accepted) throw new Error(`${alg}: a forged token was accepted`);
}
console.log(minted.tokens.length);
