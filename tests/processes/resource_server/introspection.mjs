// The npm package `oidc-provider` issues opaque access tokens, which the example server has it introspect.
//
//   node introspection.mjs http://127.0.0.1:PORT
//
// It prints the issuer in its first line, and waits until the example server is up. Then it prints every exchange.
// It fails if one has another outcome than the expected one.

import { randomUUID } from "node:crypto";

import { Browser, accessToken, basic, machine, publicClient, start } from "../../support/provider.mjs";
import { expect, isUp, load, post, until } from "../../support/script.mjs";

const { SignJWT, exportJWK, generateKeyPair } = await load("jose");

const api = process.argv[2];
const opaque = "https://api.example/opaque";
const signed = "https://api.example/signed";
const web = publicClient("web", { grant_types: ["authorization_code", "refresh_token"] });

const { issuer, server } = await start({
  clients: [web, machine("batch", "of the batch client"), machine("resource server", "p&ss: w%rd")],
  scopes: ["openid", "offline_access", "orders:read"],
  features: {
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) =>
        accessToken(resource, "orders:read", resource === signed ? "RS256" : undefined),
    },
  },
}, { account: () => "alice" });

let introspections = 0;
server.prependListener("request", ({ url }) => {
  if (url === "/token/introspection") introspections += 1;
});

async function call(what, token, status) {
  const response = await fetch(`${api}/protected`, { headers: { authorization: `Bearer ${token}` } });
  const body = await response.text();
  console.log(`  ${what}: ${response.status}, ${introspections} introspections`);
  const challenge = response.headers.get("www-authenticate");
  if (challenge) console.log(`          ${challenge}`);
  expect(response.status === status, `${what}: ${response.status} ${body}`);
  return body;
}

console.log(issuer);
await isUp(`${api}/ready`);

console.log("a client without a user:");
const authorization = basic("batch", "of the batch client");
const credentials = { grant_type: "client_credentials", scope: "orders:read" };
const batch = await post(`${issuer}/token`, { ...credentials, resource: opaque }, { authorization });
expect(!batch.access_token.includes("."), "a JWT");
const service = JSON.parse(await call("opaque token of a client", batch.access_token, 200));
expect(service.sub === null || service.sub === undefined, `a subject: ${service.sub}`);
expect(service.scope.join(" ") === "orders:read", `scope ${service.scope}`);

console.log("a user:");
const asked = { scope: "openid offline_access orders:read", prompt: "consent" };
const alice = await new Browser().signIn(issuer, { client_id: "web", resource: opaque, ...asked });
expect(alice.refresh_token, "no refresh token");
const user = JSON.parse(await call("opaque access token", alice.access_token, 200));
expect(user.sub === "alice", `sub ${user.sub}`);
const before = introspections;
await call("the same again", alice.access_token, 200);
expect(introspections === before, "asked again");
await call("the refresh token, which the provider calls active", alice.refresh_token, 401);
expect(introspections === before + 1, "the refresh token was not introspected");

console.log("a JWT of the same provider:");
const jwt = await post(`${issuer}/token`, { ...credentials, resource: signed }, { authorization });
expect(jwt.access_token.split(".").length === 3, "no JWT");
await call("a JWT, by the published keys", jwt.access_token, 200);
expect(introspections === before + 1, "a JWT was introspected");

console.log("a token that is bound to a key:");
const { publicKey, privateKey } = await generateKeyPair("ES256");
const proof = await new SignJWT({ htm: "POST", htu: `${issuer}/token`, jti: randomUUID() })
  .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: await exportJWK(publicKey) })
  .setIssuedAt()
  .sign(privateKey);
const bound = await post(`${issuer}/token`, { ...credentials, resource: opaque }, { authorization, dpop: proof });
expect(bound.token_type === "DPoP", `not bound: ${bound.token_type}`);
await call("a bound token as a bearer token", bound.access_token, 401);

console.log("revocation at the provider:");
await post(`${issuer}/token/revocation`, { token: alice.access_token, client_id: "web" });
await until("the revocation is seen", async () => {
  const headers = { authorization: `Bearer ${alice.access_token}` };
  const { status } = await fetch(`${api}/protected`, { headers });
  expect(status === 200 || status === 401, `status ${status}`);
  return status === 401;
});
await call("after the cache time", alice.access_token, 401);
console.log("done");
process.exit(0);
