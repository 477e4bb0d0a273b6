// A provider (the npm package `oidc-provider`) that issues JWT access tokens bound to a key, and a client (the
// npm package `oauth4webapi`) that calls a resource server with them. Arguments: the provider's port, the URL
// of the resource server, and the number of seconds after which its nonce ages.
//
// Prints one line for each step, and fails at the first wrong one.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const require = createRequire(import.meta.url);
const load = async (name) => import(pathToFileURL(require.resolve(name)).href);
const [oauth, { Provider }] = [await load("oauth4webapi"), await load("oidc-provider")];

const [port, resource, ages] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const audience = "https://api.example";
const step = (text) => console.log(text);
const expect = (holds, what) => {
  if (!holds) throw new Error(what);
};

const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
// The provider would publish the operations of the private key with the public one.
const { key_ops, ext, ...exported } = await crypto.subtle.exportKey("jwk", pair.privateKey);
const jwk = { ...exported, use: "sig", alg: "ES256" };
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "app",
      client_secret: "a secret of the client",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: "ES256",
      dpop_bound_access_tokens: true,
    },
  ],
  jwks: { keys: [jwk] },
  ttl: { ClientCredentials: 600 },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true, nonceSecret: Buffer.alloc(32, 7), requireNonce: () => true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => audience,
      getResourceServerInfo: () => ({
        scope: "read",
        audience,
        accessTokenFormat: "jwt",
        accessTokenTTL: 600,
        jwt: { sign: { alg: "ES256" } },
      }),
    },
  },
});
const listening = await new Promise((resolve) => {
  const server = provider.listen(Number(port), "127.0.0.1", () => resolve(server));
});

const insecure = { [oauth.allowInsecureRequests]: true };
const found = await oauth.discoveryRequest(new URL(issuer), insecure);
const as = await oauth.processDiscoveryResponse(new URL(issuer), found);
const client = { client_id: "app" };
const authentication = oauth.ClientSecretPost("a secret of the client");
const keys = await oauth.generateKeyPair("ES256");
const DPoP = oauth.DPoP(client, keys);

async function grant() {
  const parameters = new URLSearchParams({ scope: "read", resource: audience });
  const response = await oauth.clientCredentialsGrantRequest(as, client, authentication, parameters, {
    DPoP,
    ...insecure,
  });
  return oauth.processClientCredentialsResponse(as, client, response);
}

const granted = await grant().catch((error) => {
  expect(oauth.isDPoPNonceError(error), `no nonce was demanded: ${JSON.stringify(error.cause)} ${error}`);
  step("provider: use_dpop_nonce, repeated with the nonce");
  return grant();
});
expect(granted.token_type === "dpop", `token_type ${granted.token_type}`);
const token = granted.access_token;
const claims = JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
expect(claims.cnf.jkt === (await DPoP.calculateThumbprint()), "cnf.jkt is not the client's key");
step(`provider: an access token with typ at+jwt, bound to ${claims.cnf.jkt}`);

// The keys are fetched in the background.
for (let tries = 0; (await fetch(`${resource}/ready`)).status !== 200; tries += 1) {
  expect(tries < 200, "the resource server gets no keys");
  await new Promise((resolve) => setTimeout(resolve, 50));
}

const url = new URL(`${resource}/protected?page=1`);
let nonces = 0;
async function call(handle = DPoP) {
  const attempt = () =>
    oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, { DPoP: handle, ...insecure });
  const response = await attempt().catch((error) => {
    expect(oauth.isDPoPNonceError(error), `refused: ${JSON.stringify(error.cause)} ${error}`);
    nonces += 1;
    return attempt();
  });
  expect(response.status === 200, `status ${response.status}`);
  return response;
}

let answer = await call();
expect(nonces === 1, "no nonce was demanded");
expect((await answer.json()).sub === "app", "another subject");
step("resource: use_dpop_nonce, repeated with the nonce: 200");
await call();
expect(nonces === 1, "a fresh nonce was refused");
step("resource: the same nonce, another proof: 200");

// The same key, used by a client that then is idle.
const idle = oauth.DPoP(client, keys);
await call(idle);
expect(nonces === 2, "a client without a nonce needs none");
const idleSince = Date.now();

// Until the next one comes with a response.
let changed = false;
for (const until = Date.now() + (Number(ages) * 2 + 2) * 1000; !changed && Date.now() < until; ) {
  await new Promise((resolve) => setTimeout(resolve, 500));
  answer = await call();
  changed = answer.headers.get("dpop-nonce") !== null;
}
expect(changed && nonces === 2, "no response had the next nonce");
expect(answer.headers.get("cache-control") === "no-store", "a response with a nonce may be stored");
await call();
expect(nonces === 2, "the next nonce was refused");
step("resource: an ageing nonce: 200 with the next one, no-store; the next one: 200");

const lifetime = Number(ages) * 2 * 1000;
await new Promise((resolve) => setTimeout(resolve, idleSince + lifetime + 1000 - Date.now()));
await call(idle);
expect(nonces === 3, "an old nonce was accepted");
step("resource: a nonce that is too old: use_dpop_nonce, repeated with the new one: 200");

async function refused(what, headers, error) {
  const response = await fetch(url, { headers });
  const challenge = response.headers.get("www-authenticate") ?? "";
  expect(response.status === 401, `${what}: ${response.status}`);
  expect(error === undefined || challenge.includes(`error="${error}"`), `${what}: ${challenge}`);
  step(`resource: ${what}: 401 ${challenge}`);
}
await refused("a copied token as Bearer", { authorization: `Bearer ${token}` });
await refused("a copied token without a proof", { authorization: `DPoP ${token}` }, "invalid_dpop_proof");

// A whole request, as a log with headers would have it.
let copied;
const spy = (target, init) => {
  copied = Object.fromEntries(new Headers(init.headers).entries());
  return fetch(target, init);
};
// With a nonce that is valid now.
await call();
const first = await oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, {
  DPoP,
  [oauth.customFetch]: spy,
  ...insecure,
});
expect(first.status === 200, "the original");
await refused("a replayed request", { authorization: copied.authorization, dpop: copied.dpop }, "invalid_dpop_proof");

// A thief with the token and another key.
const thief = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const stolen = () =>
  oauth.protectedResourceRequest(token, "GET", url, undefined, undefined, { DPoP: thief, ...insecure });
const verdict = await stolen().then(
  () => "accepted",
  (error) => error.cause?.[0]?.parameters?.error,
);
expect(verdict === "invalid_token", `the thief: ${verdict}`);
step("resource: a copied token with a proof by another key: 401 invalid_token");
step("done");
listening.close();
process.exit(0);
