// The npm package `oidc-provider` issues opaque access tokens, which the example server has it introspect.
//
//   node introspection.mjs http://127.0.0.1:PORT
//
// It prints the issuer in its first line, and waits until the example server is up. Then it prints every exchange.
// It fails if one has another outcome than the expected one.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

// The provider prints advice for production.
console.info = () => {};
console.warn = () => {};
// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: Provider } = await load("oidc-provider");
const { SignJWT, exportJWK, generateKeyPair } = await load("jose");

const api = process.argv[2];
const callback = "http://127.0.0.1/callback";
const opaque = "https://api.example/opaque";
const signed = "https://api.example/signed";

function expect(condition, problem) {
  if (!condition) throw new Error(problem);
}

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "web",
      application_type: "native",
      redirect_uris: [callback],
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
    },
    {
      client_id: "batch",
      client_secret: "of the batch client",
      redirect_uris: [],
      grant_types: ["client_credentials"],
      response_types: [],
      token_endpoint_auth_method: "client_secret_basic",
    },
    {
      client_id: "resource server",
      client_secret: "p&ss: w%rd",
      redirect_uris: [],
      grant_types: ["client_credentials"],
      response_types: [],
      token_endpoint_auth_method: "client_secret_basic",
    },
  ],
  scopes: ["openid", "offline_access", "orders:read"],
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => ({
        audience: resource,
        scope: "orders:read",
        accessTokenFormat: resource === signed ? "jwt" : "opaque",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});

async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  const { prompt, params, session, grantId } = details;
  if (prompt.name === "login") {
    const result = { login: { accountId: "alice" } };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  const owner = { accountId: session.accountId, clientId: params.client_id };
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant(owner);
  const { missingOIDCScope, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

const answer = provider.callback();
let introspections = 0;
server.on("request", (request, response) => {
  if (request.url === "/token/introspection") introspections++;
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interaction(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
});

const basic = (client, secret) => {
  const pair = [client, secret].map(encodeURIComponent).join(":");
  return `Basic ${Buffer.from(pair).toString("base64")}`;
};

async function post(path, form, headers = {}) {
  const response = await fetch(issuer + path, { method: "POST", headers, body: new URLSearchParams(form) });
  const text = await response.text();
  expect(response.ok, `${path}: ${response.status} ${text}`);
  return text === "" ? {} : JSON.parse(text);
}

// A browser without pages: it follows redirects, keeps cookies, and stops at the client's callback.
async function signIn() {
  const verifier = randomBytes(32).toString("base64url");
  let url = new URL("/auth", issuer);
  url.search = new URLSearchParams({
    client_id: "web",
    redirect_uri: callback,
    response_type: "code",
    scope: "openid offline_access orders:read",
    prompt: "consent",
    resource: opaque,
    code_challenge: createHash("sha256").update(verifier).digest("base64url"),
    code_challenge_method: "S256",
  });
  const cookies = new Map();
  for (let hops = 0; hops < 10; hops++) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split("=");
      cookies.set(name, value);
    }
    const location = response.headers.get("location");
    expect(location, `${url}: ${response.status} ${await response.text()}`);
    url = new URL(location, url);
    if (!url.href.startsWith(callback)) continue;
    const code = url.searchParams.get("code");
    expect(code, `no code: ${url.search}`);
    const form = { grant_type: "authorization_code", client_id: "web", code, redirect_uri: callback };
    return post("/token", { ...form, code_verifier: verifier, resource: opaque });
  }
  throw new Error("too many redirects");
}

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
for (let attempts = 0; ; attempts++) {
  const up = await fetch(`${api}/ready`).then((response) => response.ok, () => false);
  if (up) break;
  expect(attempts < 300, "the server is not up");
  await pause(100);
}

console.log("a client without a user:");
const authorization = basic("batch", "of the batch client");
const credentials = { grant_type: "client_credentials", scope: "orders:read" };
const batch = await post("/token", { ...credentials, resource: opaque }, { authorization });
expect(!batch.access_token.includes("."), "a JWT");
const service = JSON.parse(await call("opaque token of a client", batch.access_token, 200));
expect(service.sub === null || service.sub === undefined, `a subject: ${service.sub}`);
expect(service.scope.join(" ") === "orders:read", `scope ${service.scope}`);

console.log("a user:");
const alice = await signIn();
expect(alice.refresh_token, "no refresh token");
const user = JSON.parse(await call("opaque access token", alice.access_token, 200));
expect(user.sub === "alice", `sub ${user.sub}`);
const before = introspections;
await call("the same again", alice.access_token, 200);
expect(introspections === before, "asked again");
await call("the refresh token, which the provider calls active", alice.refresh_token, 401);
expect(introspections === before + 1, "the refresh token was not introspected");

console.log("a JWT of the same provider:");
const jwt = await post("/token", { ...credentials, resource: signed }, { authorization });
expect(jwt.access_token.split(".").length === 3, "no JWT");
await call("a JWT, by the published keys", jwt.access_token, 200);
expect(introspections === before + 1, "a JWT was introspected");

console.log("a token that is bound to a key:");
const { publicKey, privateKey } = await generateKeyPair("ES256");
const proof = await new SignJWT({ htm: "POST", htu: `${issuer}/token`, jti: randomBytes(16).toString("base64url") })
  .setProtectedHeader({ alg: "ES256", typ: "dpop+jwt", jwk: await exportJWK(publicKey) })
  .setIssuedAt()
  .sign(privateKey);
const bound = await post("/token", { ...credentials, resource: opaque }, { authorization, dpop: proof });
expect(bound.token_type === "DPoP", `not bound: ${bound.token_type}`);
await call("a bound token as a bearer token", bound.access_token, 401);

console.log("revocation at the provider:");
await post("/token/revocation", { token: alice.access_token, client_id: "web" });
const since = Date.now();
for (;;) {
  const headers = { authorization: `Bearer ${alice.access_token}` };
  const { status } = await fetch(`${api}/protected`, { headers });
  if (status === 401) break;
  expect(status === 200, `status ${status}`);
  expect(Date.now() - since < 30_000, "the revocation is not seen");
  await pause(50);
}
await call("after the cache time", alice.access_token, 401);
console.log("done");
process.exit(0);
