// Verifies with the RFC 9068 validator of the npm package `oauth4webapi` what tower-jwt-auth minted. Fails on the first
// token that oauth4webapi does not accept, or that it accepts after a change. It takes no HMAC.

import { load } from "../support/script.mjs";
import { read, refusesForged } from "./minted.mjs";

const oauth = await load("oauth4webapi");

const minted = read();
const server = { issuer: "https://as.example", jwks_uri: "https://as.example/jwks.json" };
const headers = { "content-type": "application/jwk-set+json" };

function verify(alg, token) {
  const request = new Request("https://api.example/", {
    headers: { authorization: `Bearer ${token}` },
  });
  return oauth.validateJwtAccessToken(server, request, "https://api.example", {
    signingAlgorithms: [alg],
    [oauth.customFetch]: async () => new Response(JSON.stringify(minted.jwks), { headers }),
  });
}

let verified = 0;
for (const { alg, token } of minted.tokens) {
  if (!alg.startsWith("HS")) {
    const claims = await verify(alg, token);
    if (claims.sub !== "alice" || claims.client_id !== "first-party") {
      throw new Error(`${alg}: claims`);
    }
    await refusesForged(alg, token, verify);
  }
  verified += 1;
}
console.log(verified);
