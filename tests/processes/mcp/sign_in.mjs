// The client of the MCP TypeScript SDK signs in at the npm package `oidc-provider`, and uses an MCP server.
//
//   node sign_in.mjs http://127.0.0.1:PORT/mcp
//
// It prints the issuer of the authorization server in its first line, and waits until the MCP server is up. Then it
// prints every exchange of the client. It fails if one has another outcome than the expected one.

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
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { UnauthorizedError } = require("@modelcontextprotocol/sdk/client/auth.js");

const mcp = process.argv[2];
const callback = "http://127.0.0.1/callback";

function expect(condition, problem) {
  if (!condition) throw new Error(problem);
}

// The client is registered in advance. The SDK registers itself for the scope of the first challenge only, and
// `oidc-provider` then refuses to give it another one.
const metadata = {
  client_name: "transcript",
  application_type: "native",
  redirect_uris: [callback],
  grant_types: ["authorization_code"],
  response_types: ["code"],
  token_endpoint_auth_method: "none",
};

// The authorization server: JWT access tokens by resource indicator, and PKCE. It signs alice in and consents
// without a page.
const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: "transcript", ...metadata }],
  scopes: ["openid", "offline_access", "notes:read", "notes:write"],
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  features: {
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => {
        expect(resource === mcp, `another resource: ${resource}`);
        return {
          audience: resource,
          scope: "notes:read notes:write",
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        };
      },
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
server.on("request", (request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interaction(request, response).catch((error) => {
    response.statusCode = 500;
    response.end(String(error));
  });
});

// A browser without pages: it follows redirects, keeps cookies, and stops at the client's callback.
const cookies = new Map();
async function browse(url) {
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
    if (url.href.startsWith(callback)) return url.searchParams;
  }
  throw new Error("too many redirects");
}

// The client's state, and the user who follows its link.
class Login {
  redirectUrl = callback;
  clientMetadata = metadata;
  clientInformation = () => ({ client_id: "transcript", issuer });
  tokens = () => this.current;
  saveTokens = (tokens) => void (this.current = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  async redirectToAuthorization(url) {
    const asked = url.searchParams;
    console.log(`  user    sign in: scope="${asked.get("scope")}" resource=${asked.get("resource")}`);
    expect(asked.get("code_challenge_method") === "S256", "no PKCE");
    expect(asked.get("resource") === mcp, "no resource");
    const answer = await browse(url);
    this.code = answer.get("code");
    expect(this.code, `no code: ${answer}`);
  }
}

async function traced(url, init = {}) {
  const response = await fetch(url, init);
  const { pathname, origin } = new URL(url);
  const to = origin === issuer ? "issuer " : "server ";
  let what = `${init.method ?? "GET"} ${pathname}`;
  try {
    const message = JSON.parse(init.body);
    what += ` ${message.method ?? "response"}`;
    if (message.params?.name) what += ` ${message.params.name}`;
  } catch {}
  console.log(`  ${to} ${what}: ${response.status}`);
  const challenge = response.headers.get("www-authenticate");
  if (challenge) console.log(`          ${challenge}`);
  return response;
}

const login = new Login();
async function connect() {
  const transport = new StreamableHTTPClientTransport(new URL(mcp), { authProvider: login, fetch: traced });
  const client = new Client({ name: "transcript", version: "1" });
  return { transport, client };
}

async function call(client, name, args = {}) {
  const result = await client.callTool({ name, arguments: args });
  return result.content[0].text;
}

async function refused(attempt) {
  const error = await attempt.then(() => undefined, (error) => error);
  expect(error instanceof UnauthorizedError, `not refused, but ${error}`);
}

console.log(issuer);
for (let attempts = 0; ; attempts++) {
  const up = await fetch(mcp, { method: "POST" }).then(() => true, () => false);
  if (up) break;
  expect(attempts < 300, "the server is not up");
  await pause(100);
}

console.log("without a token:");
let { transport, client } = await connect();
await refused(client.connect(transport));
await transport.finishAuth(login.code);
expect(login.current.scope === "notes:read", `scope ${login.current.scope}`);

console.log("with the token for the scope of the challenge:");
({ transport, client } = await connect());
await client.connect(transport);
expect((await call(client, "whoami")) === "alice", "whoami");
expect((await call(client, "read_notes")) === "", "read_notes");

console.log("a tool that needs more:");
await refused(call(client, "write_note", { text: "milk" }));
await transport.finishAuth(login.code);
expect(login.current.scope.split(" ").includes("notes:write"), `scope ${login.current.scope}`);

console.log("with the broader token:");
expect((await call(client, "write_note", { text: "milk" })) === "written", "write_note");
expect((await call(client, "read_notes")) === "milk", "read_notes");

console.log("a tool without a rule:");
const unknown = await call(client, "delete_notes").then(() => undefined, (error) => error);
expect(unknown, "an unlisted tool ran");
console.log("done");
process.exit(0);
