// The npm package `oidc-provider` signs users in and out, and sends the logouts to the first of several nodes.
//
//   node sign_out.mjs http://127.0.0.1:PORT [http://127.0.0.1:OTHER …]
//
// It prints its issuer in its first line, and waits until the nodes are up. It fails if a node accepts a token of a
// session that has ended, or refuses another one.

import { Browser, accessToken, publicClient, start } from "../../support/provider.mjs";
import { expect, isUp, pause, until } from "../../support/script.mjs";

const nodes = process.argv.slice(2);
const api = "https://api.example";
const client_id = "shop-web";

const { issuer, provider } = await start({
  clients: [
    publicClient(client_id, {
      backchannel_logout_uri: `${nodes[0]}/backchannel-logout`,
      backchannel_logout_session_required: true,
    }),
  ],
  // By default an access token names no session.
  extraTokenClaims: (context, token) =>
    token.accountId === "bob" ? { sid: context.oidc.entities.AuthorizationCode.sid } : undefined,
  // Without the protection that lets the provider call no loopback address.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: {
    backchannelLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: (_, resource) => {
        expect(resource === api, `another resource: ${resource}`);
        return accessToken(resource, "orders", "RS256");
      },
    },
  },
}, { account: ({ login_hint }) => login_hint });
const sent = [];
provider.on("backchannel.success", (_, client, account) => sent.push(account));
provider.on("backchannel.error", (_, error) => sent.push(String(error)));

// A browser in which one user signs in and out.
class Person extends Browser {
  constructor(name) {
    super();
    this.name = name;
  }

  async in() {
    const asked = { client_id, resource: api, scope: "openid orders", login_hint: this.name };
    const tokens = await this.signIn(issuer, asked);
    expect(tokens.access_token && tokens.id_token, JSON.stringify(tokens));
    this.idToken = tokens.id_token;
    return tokens.access_token;
  }

  async out() {
    const page = await this.send(`${issuer}/session/end?id_token_hint=${this.idToken}`);
    const html = await page.text();
    const [, xsrf] = /name="xsrf" value="([^"]+)"/.exec(html) ?? [];
    expect(xsrf, html);
    const body = new URLSearchParams({ xsrf, logout: "yes" });
    const ended = await this.send(`${issuer}/session/end/confirm`, { method: "POST", body });
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
  await until(`${name} is refused`, async () => {
    const found = await statuses(token);
    expect(found[0] === 401, `${name}: ${found}`);
    return found.every((status) => status === 401);
  });
  console.log(`  ${name}: refused after ${(performance.now() - begun).toFixed()} ms`);
}

console.log(issuer);
for (const node of nodes) await isUp(`${node}/ready`);

const [alice, bob, bobsPhone] = ["alice", "bob", "bob"].map((name) => new Person(name));
const tokens = { alice: await alice.in(), bob: await bob.in(), phone: await bobsPhone.in() };
console.log("signed in:");
await accepted("alice", tokens.alice);
await accepted("bob", tokens.bob);
await accepted("bob's phone", tokens.phone);

console.log("alice, whose tokens name no session, signs out:");
await alice.out();
expect(sent.join() === "alice", `logouts: ${sent}`);
await refused("alice", tokens.alice);
await accepted("bob", tokens.bob);

console.log("bob signs out in one of his sessions:");
await bob.out();
expect(sent.join() === "alice,bob", `logouts: ${sent}`);
await refused("bob", tokens.bob);
await accepted("bob's phone", tokens.phone);

console.log("both sign in again:");
// Times of issue are whole seconds.
await pause(1100);
await accepted("alice", await alice.in());
await accepted("bob", await bob.in());
await refused("alice's old token", tokens.alice);
console.log("done");
process.exit(0);
