// A stock client (the npm package `oauth4webapi`) whose tokens the login server binds to its key. Arguments: the URL
// of the server, a name and a password, and the number of seconds after which a nonce ages.
//
// Prints one line for each step, and fails at the first wrong one.

import { Nonces, replayed } from "../../support/nonces.mjs";
import { claimsOf, expect, load, pause } from "../../support/script.mjs";

const oauth = await load("oauth4webapi");

const [origin, username, password, ages] = process.argv.slice(2);
const step = (text) => console.log(text);
const insecure = { [oauth.allowInsecureRequests]: true };

const found = await oauth.discoveryRequest(new URL(origin), { algorithm: "oauth2", ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(origin), found);
expect(as.dpop_signing_alg_values_supported.includes("ES256"), "the metadata names no ES256");
const client = { client_id: "first-party" };
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const nonces = new Nonces(Number(ages));

/** A copy of everything that a request had. */
let seen;
const spy = { [oauth.customFetch]: (url, init) => {
  seen = { url, init: { ...init, headers: new Headers(init.headers) } };
  return fetch(url, init);
} };

const signIn = (handle) => async () => {
  const fields = new URLSearchParams({ username, password });
  const options = { DPoP: handle, ...insecure };
  const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), "password", fields, options);
  return oauth.processGenericTokenEndpointResponse(as, client, response);
};
const refresh = (token, handle = DPoP) => async () => {
  const options = { ...(handle && { DPoP: handle }), ...insecure, ...spy };
  const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), token, options);
  return oauth.processRefreshTokenResponse(as, client, response);
};
const me = (token, handle = DPoP) => async () => {
  const options = { DPoP: handle, ...insecure, ...spy };
  const url = new URL("/api/me", origin);
  const response = await oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, options);
  if (response.status !== 200) throw new Error(`status ${response.status}`, { cause: response });
  return response;
};
const verdict = (attempt) => nonces.retried(attempt).then(
  () => "accepted",
  (error) => `${error.response?.status ?? error.status} ${error.error ?? error.cause?.[0]?.parameters?.error}`,
);

const first = await nonces.demands("no nonce was demanded", signIn(DPoP));
expect(first.token_type === "dpop", `token_type ${first.token_type}`);
const claims = claimsOf(first.access_token);
expect(claims.cnf.jkt === (await DPoP.calculateThumbprint()), "cnf.jkt is not the client's key");
step("POST /api/auth/token, password: 400 use_dpop_nonce");
step(`POST /api/auth/token, repeated with the nonce: 200, token_type DPoP, cnf.jkt ${claims.cnf.jkt}`);

let answer = await nonces.accepted("one origin, one nonce", me(first.access_token));
expect((await answer.json()).sub === claims.sub, "another subject");
step("GET /api/me: 200");
const second = await nonces.retried(refresh(first.refresh_token));
expect(second.token_type === "dpop" && second.refresh_token !== first.refresh_token, "no rotation");
step("POST /api/auth/token, refresh_token: 200, a new refresh token");

// Until the next nonce comes with a response.
for (const since = Date.now(); ; await pause(250)) {
  answer = await nonces.accepted("no response had the next nonce", me(second.access_token));
  if (answer.headers.has("dpop-nonce")) break;
  expect(Date.now() - since < 60_000, "no response had the next nonce");
}
step("GET /api/me, an ageing nonce: 200 with the next DPoP-Nonce");
let third = await nonces.accepted("the next nonce was refused", refresh(second.refresh_token));
step("POST /api/auth/token, refresh_token, with the next nonce: 200");
// As after a restart of a server that keeps no key of nonces.
let proofs = 0;
const strange = oauth.DPoP(client, await oauth.generateKeyPair("ES256"), {
  [oauth.modifyAssertion]: (_, payload) => {
    proofs += 1;
    if (proofs === 1) payload.nonce = "a-nonce-of-another-key";
  },
});
const other = await new Nonces(Number(ages)).demands("an unknown nonce is not refused", signIn(strange));
expect(other.token_type === "dpop", `token_type ${other.token_type}`);
step("POST /api/auth/token, an unknown nonce: 400 use_dpop_nonce, repeated: 200");

// The thief has every token and every request that was sent.
const again = await replayed(async () => {
  third = await nonces.retried(refresh(third.refresh_token));
  return seen;
});
expect(again.status === 400 && again.text.includes('"invalid_dpop_proof"'), `a replay: ${again.status} ${again.text}`);
step("a replayed refresh, byte for byte: 400 invalid_dpop_proof");
const replay = await replayed(async () => {
  await nonces.retried(me(third.access_token));
  return seen;
});
expect(replay.status === 401 && replay.text.includes('error="invalid_dpop_proof"'), `a replay: ${replay.text}`);
step("a replayed GET /api/me, byte for byte: 401 invalid_dpop_proof");
const plain = await fetch(new URL("/api/me", origin), { headers: { authorization: `Bearer ${third.access_token}` } });
expect(plain.status === 401, `a copied token: ${plain.status}`);
step(`a copied access token as Bearer: 401 ${plain.headers.get("www-authenticate").split(",")[0]}`);
const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const stolen = await verdict(me(third.access_token, thief));
expect(stolen === "401 invalid_token", `the thief: ${stolen}`);
step(`a copied access token with a proof by another key: ${stolen}`);
for (const [name, handle] of [["without a proof", null], ["with a proof by another key", thief]]) {
  const copied = await verdict(refresh(third.refresh_token, handle));
  expect(copied === "400 invalid_dpop_proof", `the thief's refresh ${name}: ${copied}`);
  step(`a copied refresh token ${name}: ${copied}`);
}

const last = await nonces.retried(refresh(third.refresh_token));
await nonces.retried(me(last.access_token));
step("the session of the client continues: refresh 200, GET /api/me 200");
step("done");
