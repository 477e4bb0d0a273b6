// The client of the MCP TypeScript SDK signs in at the npm package `oidc-provider`, and uses an MCP server.
//
//   node sign_in.mjs http://127.0.0.1:PORT/mcp
//
// It prints the issuer of the authorization server in its first line, and waits until the MCP server is up. Then it
// prints every exchange of the client. It fails if one has another outcome than the expected one.

import { Browser, CALLBACK, accessToken, publicClient, start } from "../../support/provider.mjs";
import { expect, isUp, require, until } from "../../support/script.mjs";

const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { UnauthorizedError } = require("@modelcontextprotocol/sdk/client/auth.js");

const mcp = process.argv[2];

// The client is registered in advance. The SDK registers itself for the scope of the first challenge only, and
// `oidc-provider` then refuses to give it another one.
const { client_id, ...metadata } = publicClient("transcript", { client_name: "transcript" });

// The authorization server: JWT access tokens by resource indicator, and PKCE.
const { issuer } = await start({
  clients: [{ client_id, ...metadata }],
  scopes: ["openid", "offline_access", "notes:read", "notes:write"],
  features: {
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => {
        expect(resource === mcp, `another resource: ${resource}`);
        return accessToken(resource, "notes:read notes:write", "RS256");
      },
    },
  },
}, { account: () => "alice" });
const browser = new Browser();

// The client's state, and the user who follows its link.
class Login {
  redirectUrl = CALLBACK;
  clientMetadata = metadata;
  clientInformation = () => ({ client_id, issuer });
  tokens = () => this.current;
  saveTokens = (tokens) => void (this.current = tokens);
  codeVerifier = () => this.verifier;
  saveCodeVerifier = (verifier) => void (this.verifier = verifier);
  async redirectToAuthorization(url) {
    const asked = url.searchParams;
    console.log(`  user    sign in: scope="${asked.get("scope")}" resource=${asked.get("resource")}`);
    expect(asked.get("code_challenge_method") === "S256", "no PKCE");
    expect(asked.get("resource") === mcp, "no resource");
    const answer = await browser.toCallback(url);
    this.code = answer.get("code");
    expect(this.code, `no code: ${answer}`);
  }
}

async function traced(url, init = {}) {
  let response;
  // The server fetches the keys of the issuer for the first token. On a busy machine they come too late for it.
  await until(`${url} is served`, async () => (response = await fetch(url, init)).status !== 503);
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
await isUp(mcp, () => true);

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
