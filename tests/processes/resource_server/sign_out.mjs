// The npm package `oidc-provider` signs users in and out, and sends the logouts to the first of several nodes.
//
//   node sign_out.mjs http://127.0.0.1:PORT [http://127.0.0.1:OTHER …]
//
// It prints its issuer in its first line, and waits until the nodes are up. It fails if a node accepts a token of a
// session that has ended, or refuses another one.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { setTimeout as pause } from "node:timers/promises";

// The provider prints advice for production.
console.info = () => {};
// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: Provider } = await load("oidc-provider");

const nodes = process.argv.slice(2);
const api = "https://api.example";
const client_id = "shop-web";
const callback = "http://127.0.0.1/callback";

function expect(condition, problem) {
  if (!condition) throw new Error(problem);
}

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id,
      application_type: "native",
      redirect_uris: [callback],
      grant_types: ["authorization_code"],
      response_types: ["code"],
      token_endpoint_auth_method: "none",
      backchannel_logout_uri: `${nodes[0]}/backchannel-logout`,
      backchannel_logout_session_required: true,
    },
  ],
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  // By default an access token names no session.
  extraTokenClaims: (context, token) =>
    token.accountId === "bob" ? { sid: context.oidc.entities.AuthorizationCode.sid } : undefined,
  // Without the protection that lets the provider call no loopback address.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    backchannelLogout: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => {
        expect(resource === api, `another resource: ${resource}`);
        return {
          audience: resource,
          scope: "orders",
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        };
      },
    },
  },
});
const sent = [];
provider.on("backchannel.success", (_, client, account) => sent.push(account));
provider.on("backchannel.error", (_, error) => sent.push(String(error)));

async function interaction(request, response) {
  const details = await provider.interactionDetails(request, response);
  const { prompt, params, session, grantId } = details;
  if (prompt.name === "login") {
    const result = { login: { accountId: params.login_hint } };
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
server.on("request", (request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interaction(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
});

// A browser without pages, in which one user signs in and out.
class Browser {
  cookies = new Map();

  async ask(url, init = {}) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await fetch(url, { redirect: "manual", headers: { cookie }, ...init });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(";")[0].split("=");
      this.cookies.set(name, value);
    }
    return response;
  }

  async signIn(account) {
    const secret = randomBytes(32).toString("base64url");
    const asked = {
      client_id,
      redirect_uri: callback,
      response_type: "code",
      scope: "openid orders",
      resource: api,
      login_hint: account,
      code_challenge: createHash("sha256").update(secret).digest("base64url"),
      code_challenge_method: "S256",
    };
    let url = new URL(`${issuer}/auth?${new URLSearchParams(asked)}`);
    for (let hops = 0; !url.href.startsWith(callback); hops++) {
      expect(hops < 10, "too many redirects");
      const response = await this.ask(url);
      const location = response.headers.get("location");
      expect(location, `${url}: ${response.status} ${await response.text()}`);
      url = new URL(location, url);
    }
    const code = url.searchParams.get("code");
    expect(code, `no code: ${url}`);
    const form = { grant_type: "authorization_code", client_id, code, redirect_uri: callback, code_verifier: secret, resource: api };
    const response = await fetch(`${issuer}/token`, { method: "POST", body: new URLSearchParams(form) });
    const tokens = await response.json();
    expect(tokens.access_token && tokens.id_token, JSON.stringify(tokens));
    this.idToken = tokens.id_token;
    return tokens.access_token;
  }

  async signOut() {
    const page = await this.ask(`${issuer}/session/end?id_token_hint=${this.idToken}`);
    const html = await page.text();
    const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(html) ?? [];
    expect(xsrf, html);
    const body = new URLSearchParams({ xsrf, logout: "yes" });
    const ended = await this.ask(`${issuer}/session/end/confirm`, { method: "POST", body });
    expect(ended.status === 303, `${ended.status} ${await ended.text()}`);
  }
}

async function statuses(token) {
  const headers = { authorization: `Bearer ${token}` };
  const answers = nodes.map((node) => fetch(`${node}/protected`, { headers }));
  return (await Promise.all(answers)).map((response) => response.status);
}

async function accepted(name, token) {
  const found = await statuses(token);
  expect(found.every((status) => status === 200), `${name}: ${found}`);
  console.log(`  ${name}: ${found}`);
}

// The first node refuses immediately, the others when they have read the store.
async function refused(name, token) {
  const begun = performance.now();
  for (;;) {
    const found = await statuses(token);
    expect(found[0] === 401, `${name}: ${found}`);
    const after = performance.now() - begun;
    if (found.every((status) => status === 401)) {
      return console.log(`  ${name}: ${found} after ${after.toFixed()} ms`);
    }
    expect(after < 30_000, `${name}: ${found}`);
    await pause(5);
  }
}

console.log(issuer);
for (const node of nodes) {
  for (let attempts = 0; ; attempts++) {
    const up = await fetch(`${node}/ready`).then((response) => response.ok, () => false);
    if (up) break;
    expect(attempts < 300, "a node is not up");
    await pause(100);
  }
}

const [alice, bob, bobsPhone] = [new Browser(), new Browser(), new Browser()];
const tokens = {
  alice: await alice.signIn("alice"),
  bob: await bob.signIn("bob"),
  phone: await bobsPhone.signIn("bob"),
};
console.log("signed in:");
await accepted("alice", tokens.alice);
await accepted("bob", tokens.bob);
await accepted("bob's phone", tokens.phone);

console.log("alice, whose tokens name no session, signs out:");
await alice.signOut();
expect(sent.join() === "alice", `logouts: ${sent}`);
await refused("alice", tokens.alice);
await accepted("bob", tokens.bob);

console.log("bob signs out in one of his sessions:");
await bob.signOut();
expect(sent.join() === "alice,bob", `logouts: ${sent}`);
await refused("bob", tokens.bob);
await accepted("bob's phone", tokens.phone);

console.log("both sign in again:");
// Times of issue are whole seconds.
await pause(1100);
await accepted("alice", await alice.signIn("alice"));
await accepted("bob", await bob.signIn("bob"));
await refused("alice's old token", tokens.alice);
console.log("done");
process.exit(0);
