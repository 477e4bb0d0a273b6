// Verifies with the RFC 9068 validator of the npm package `oauth4webapi` what tower-jwt-auth minted; reads
// one JSON document from standard input:
//
// {"jwks": {public keys}, "secret": unused, "tokens": [{"alg", "token"}]}
//
// Fails on the first token that oauth4webapi does not accept, or that it accepts after a change. It takes no
// HMAC.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const resolved = createRequire(import.meta.url).resolve("oauth4webapi");
const oauth = await import(pathToFileURL(resolved).href);

const minted = JSON.parse(readFileSync(0, "utf8"));
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
    const at = token.lastIndexOf(".") + 1;
    const forged = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
    const accepted = await verify(alg, forged).then(() => true, () => false);
    if (accepted) throw new Error(`${alg}: a forged token was accepted`);
  }
  verified += 1;
}
console.log(verified);
