// A provider (the npm package `oidc-provider`) that issues JWT access tokens bound to a key, and a client (the
// npm package `oauth4webapi`) that calls a resource server with them. Arguments: the provider's port, the URL
// of the resource server, and the number of seconds after which its nonce ages.
//
// Prints one line for each step, and fails at the first wrong one.

import { Nonces, replayed } from "../support/nonces.mjs";
import { accessToken, machine, start } from "../support/provider.mjs";
import { claimsOf, expect, isUp, load, pause } from "../support/script.mjs";

const oauth = await load("oauth4webapi");

const [port, resource, seconds] = process.argv.slice(2);
const ages = Number(seconds);
const audience = "https://api.example";
const step = (text) => console.log(text);

const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
// The provider would publish the operations of the private key with the public one.
const { key_ops, ext, ...exported } = await crypto.subtle.exportKey("jwk", pair.privateKey);
const { issuer, server } = await start({
  clients: [
    machine("app", "a secret of the client", {
      id_token_signed_response_alg: "ES256",
      dpop_bound_access_tokens: true,
    }),
  ],
  jwks: { keys: [{ ...exported, use: "sig", alg: "ES256" }] },
  ttl: { ClientCredentials: 600 },
  features: {
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({ ...accessToken(audience, "read", "ES256"), accessTokenTTL: 600 }),
    },
  },
}, { port: Number(port) });

const insecure = { [oauth.allowInsecureRequests]: true };
const found = await oauth.discoveryRequest(new URL(issuer), insecure);
const as = await oauth.processDiscoveryResponse(new URL(issuer), found);
const client = { client_id: "app" };
const authentication = oauth.ClientSecretPost("a secret of the client");
const keys = await oauth.generateKeyPair("ES256");
const DPoP = oauth.DPoP(client, keys);

const granted = await new Nonces(ages).demands("the provider demanded no nonce", async () => {
  const parameters = new URLSearchParams({ scope: "read", resource: audience });
  const options = { DPoP, ...insecure };
  const response = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, options);
  return oauth.processClientCredentialsResponse(as, client, response);
});
step("provider: use_dpop_nonce, repeated with the nonce");
expect(granted.token_type === "dpop", `token_type ${granted.token_type}`);
const token = granted.access_token;
const { cnf } = claimsOf(token);
expect(cnf.jkt === (await DPoP.calculateThumbprint()), "cnf.jkt is not the client's key");
step(`provider: an access token with typ at+jwt, bound to ${cnf.jkt}`);

// The keys are fetched in the background.
await isUp(`${resource}/ready`);

const url = new URL(`${resource}/protected?page=1`);
const ask = (handle, more) => async () => {
  const options = { DPoP: handle, ...insecure, ...more };
  const response = await oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, options);
  if (response.status !== 200) throw new Error(`status ${response.status}`, { cause: response });
  return response;
};

const nonces = new Nonces(ages);
let answer = await nonces.demands("no nonce was demanded", ask(DPoP));
expect((await answer.json()).sub === "app", "another subject");
step("resource: use_dpop_nonce, repeated with the nonce: 200");
await nonces.accepted("a fresh nonce was refused", ask(DPoP));
step("resource: the same nonce, another proof: 200");

// The same key, used by a client that then is idle.
const [idle, idleNonces] = [oauth.DPoP(client, keys), new Nonces(ages)];
await idleNonces.demands("a client without a nonce needs none", ask(idle));
const idleSince = Date.now();

// Until the next one comes with a response.
for (const since = Date.now(); ; await pause(500)) {
  answer = await nonces.accepted("no response had the next nonce", ask(DPoP));
  if (answer.headers.has("dpop-nonce")) break;
  expect(Date.now() - since < 60_000, "no response had the next nonce");
}
expect(answer.headers.get("cache-control") === "no-store", "a response with a nonce may be stored");
await nonces.accepted("the next nonce was refused", ask(DPoP));
step("resource: an ageing nonce: 200 with the next one, no-store; the next one: 200");

await pause(Math.max(0, idleSince + ages * 2000 + 1000 - Date.now()));
await idleNonces.demands("an old nonce was accepted", ask(idle));
step("resource: a nonce that is too old: use_dpop_nonce, repeated with the new one: 200");

function refused(what, status, challenge, error) {
  expect(status === 401, `${what}: ${status}`);
  expect(error === undefined || challenge.includes(`error="${error}"`), `${what}: ${challenge}`);
  step(`resource: ${what}: 401 ${challenge}`);
}
for (const [what, scheme, error] of [
  ["a copied token as Bearer", "Bearer", undefined],
  ["a copied token without a proof", "DPoP", "invalid_dpop_proof"],
]) {
  const response = await fetch(url, { headers: { authorization: `${scheme} ${token}` } });
  refused(what, response.status, response.headers.get("www-authenticate") ?? "", error);
}

const replay = await replayed(async () => {
  let copied;
  const spy = (target, init) => {
    copied = new Headers(init.headers);
    return fetch(target, init);
  };
  await nonces.retried(ask(DPoP, { [oauth.customFetch]: spy }));
  return { url, init: { headers: { authorization: copied.get("authorization"), dpop: copied.get("dpop") } } };
});
refused("a replayed request", replay.status, replay.text, "invalid_dpop_proof");

// A thief with the token and another key.
const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const verdict = await ask(thief)().then(
  () => "accepted",
  (error) => error.cause?.[0]?.parameters?.error,
);
expect(verdict === "invalid_token", `the thief: ${verdict}`);
step("resource: a copied token with a proof by another key: 401 invalid_token");
step("done");
server.close();
process.exit(0);
