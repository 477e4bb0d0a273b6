// A stock client (the npm package `oauth4webapi`) whose tokens the login server binds to its key. Arguments: the URL
// of the server, a name and a password, and the number of seconds after which a nonce ages.
//
// Prints one line for each step, and fails at the first wrong one.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const require = createRequire(import.meta.url);
const oauth = await import(pathToFileURL(require.resolve("oauth4webapi")).href);

const [origin, username, password, ages] = process.argv.slice(2);
const step = (text) => console.log(text);
const expect = (holds, what) => {
  if (!holds) throw new Error(what);
};
const insecure = { [oauth.allowInsecureRequests]: true };

const found = await oauth.discoveryRequest(new URL(origin), { algorithm: "oauth2", ...insecure });
const as = await oauth.processDiscoveryResponse(new URL(origin), found);
expect(as.dpop_signing_alg_values_supported.includes("ES256"), "the metadata names no ES256");
const client = { client_id: "first-party" };
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
let nonces = 0;

/** Repeats a request once with the nonce of a refusal. */
async function retried(attempt) {
  try {
    return await attempt();
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error;
    nonces += 1;
    return attempt();
  }
}

/** A copy of everything that a request had. */
let seen;
const spy = { [oauth.customFetch]: (url, init) => {
  seen = { url, init: { ...init, headers: new Headers(init.headers) } };
  return fetch(url, init);
} };

const signIn = (handle) => retried(async () => {
  const fields = new URLSearchParams({ username, password });
  const options = { DPoP: handle, ...insecure };
  const response = await oauth.genericTokenEndpointRequest(as, client, oauth.None(), "password", fields, options);
  return oauth.processGenericTokenEndpointResponse(as, client, response);
});
const refresh = (token, handle = DPoP) => retried(async () => {
  const options = { DPoP: handle, ...insecure, ...spy };
  const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), token, options);
  return oauth.processRefreshTokenResponse(as, client, response);
});
const me = (token, handle = DPoP) => retried(async () => {
  const options = { DPoP: handle, ...insecure, ...spy };
  return oauth.protectedResourceRequest(token, "GET", new URL("/api/me", origin), undefined, undefined, options);
});
const verdict = (attempt) => attempt.then(
  () => "accepted",
  (error) => `${error.response?.status ?? error.status} ${error.error ?? error.cause?.[0]?.parameters?.error}`,
);

const first = await signIn(DPoP);
expect(nonces === 1, "no nonce was demanded");
expect(first.token_type === "dpop", `token_type ${first.token_type}`);
const claims = JSON.parse(Buffer.from(first.access_token.split(".")[1], "base64url"));
expect(claims.cnf.jkt === (await DPoP.calculateThumbprint()), "cnf.jkt is not the client's key");
step("POST /api/auth/token, password: 400 use_dpop_nonce");
step(`POST /api/auth/token, repeated with the nonce: 200, token_type DPoP, cnf.jkt ${claims.cnf.jkt}`);

let answer = await me(first.access_token);
expect(answer.status === 200 && (await answer.json()).sub === claims.sub, "another subject");
expect(nonces === 1, "one origin, one nonce");
step("GET /api/me: 200");
const second = await refresh(first.refresh_token);
expect(second.token_type === "dpop" && second.refresh_token !== first.refresh_token, "no rotation");
step("POST /api/auth/token, refresh_token: 200, a new refresh token");

// Until the next nonce comes with a response.
let changed = null;
for (const until = Date.now() + (Number(ages) * 2 + 2) * 1000; !changed && Date.now() < until; ) {
  answer = await me(second.access_token);
  changed = answer.headers.get("dpop-nonce");
  if (!changed) await new Promise((resolve) => setTimeout(resolve, 250));
}
expect(changed && nonces === 1, "no response had the next nonce");
step("GET /api/me, an ageing nonce: 200 with the next DPoP-Nonce");
const third = await refresh(second.refresh_token);
expect(nonces === 1, "the next nonce was refused");
step("POST /api/auth/token, refresh_token, with the next nonce: 200");
// As after a restart of a server that keeps no key of nonces.
const strange = oauth.DPoP(client, await oauth.generateKeyPair("ES256"), {
  [oauth.modifyAssertion]: (_, payload) => {
    if (nonces === 1) payload.nonce = "a-nonce-of-another-key";
  },
});
const other = await signIn(strange);
expect(nonces === 2 && other.token_type === "dpop", "an unknown nonce is not refused");
step("POST /api/auth/token, an unknown nonce: 400 use_dpop_nonce, repeated: 200");

// The thief has every token and every request that was sent.
const again = await fetch(seen.url, seen.init);
const repeated = await again.json();
expect(again.status === 400 && repeated.error === "invalid_dpop_proof", `a replay: ${again.status}`);
step("a replayed refresh, byte for byte: 400 invalid_dpop_proof");
answer = await me(third.access_token);
const replay = await fetch(seen.url, seen.init);
const challenges = replay.headers.get("www-authenticate") ?? "";
expect(replay.status === 401 && challenges.includes('error="invalid_dpop_proof"'), `a replay: ${challenges}`);
step("a replayed GET /api/me, byte for byte: 401 invalid_dpop_proof");
const plain = await fetch(new URL("/api/me", origin), { headers: { authorization: `Bearer ${third.access_token}` } });
expect(plain.status === 401, `a copied token: ${plain.status}`);
step(`a copied access token as Bearer: 401 ${plain.headers.get("www-authenticate").split(",")[0]}`);
const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const stolen = await verdict(me(third.access_token, thief));
expect(stolen === "401 invalid_token", `the thief: ${stolen}`);
step(`a copied access token with a proof by another key: ${stolen}`);
for (const [name, handle] of [["without a proof", undefined], ["with a proof by another key", thief]]) {
  const copied = await verdict(retried(async () => {
    const options = { ...(handle && { DPoP: handle }), ...insecure };
    const response = await oauth.refreshTokenGrantRequest(as, client, oauth.None(), third.refresh_token, options);
    return oauth.processRefreshTokenResponse(as, client, response);
  }));
  expect(copied === "400 invalid_dpop_proof", `the thief's refresh ${name}: ${copied}`);
  step(`a copied refresh token ${name}: ${copied}`);
}

const last = await refresh(third.refresh_token);
expect((await me(last.access_token)).status === 200, "the session has ended");
step("the session of the client continues: refresh 200, GET /api/me 200");
step("done");
