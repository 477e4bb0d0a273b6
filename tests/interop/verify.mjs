// Verifies with the npm package `jose` what tower-jwt-auth minted. Fails on the first token that jose does not accept,
// or that it accepts after a change.

import { load } from "../support/script.mjs";
import { read, refusesForged } from "./minted.mjs";

const { createLocalJWKSet, jwtVerify } = await load("jose");

const minted = read();
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
  await refusesForged(alg, token, verify);
}
console.log(minted.tokens.length);
