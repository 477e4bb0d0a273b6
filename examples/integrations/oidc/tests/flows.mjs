// A provider (npm `oidc-provider`), and a browser that signs in with it at the application. It follows redirects
// by itself, and keeps the cookies of each origin.

import { createInterface } from "node:readline";

import { Browser as Plain, start } from "../../../../tests/support/provider.mjs";

const [app, id, secret, name, password] = process.argv.slice(2);

const { issuer } = await start({
  clients: [{ client_id: id, client_secret: secret, redirect_uris: [`${app}/api/auth/identity/idp/callback`] }],
  claims: { openid: ["sub"], email: ["email", "email_verified"] },
  // The address is in the ID token.
  conformIdTokenClaims: false,
  pkce: { required: () => true },
  cookies: { keys: ["a key of the tests"] },
  // Its pages ask who signs in.
  features: { devInteractions: { enabled: true } },
  // An account is `sub`, or `sub,address`, or `sub,address,unverified`.
  findAccount: (_, account) => ({
    accountId: account,
    claims: () => {
      const [sub, email, unverified] = account.split(",");
      return { sub, ...(email && { email, email_verified: !unverified }) };
    },
  }),
});

class Browser extends Plain {
  post(path, body, headers = {}) {
    return this.send(`${app}/api/auth/${path}`, {
      method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json", ...headers },
    });
  }

  /** Follows redirects, signs in at the provider as `account`, and returns the callback of the application. */
  async toCallback(url, account) {
    for (let step = 0; step < 20; step += 1) {
      if (url.startsWith(`${app}/api/auth/identity/idp/callback`)) return url;
      let answer = await this.send(url);
      if (answer.status === 200) {
        const page = await answer.text();
        const prompt = /name="prompt" value="(\w+)"/.exec(page)[1];
        if (account === null) {
          answer = await this.send(`${url}/abort`);
        } else {
          const body = new URLSearchParams({ prompt, login: account, password: "any" });
          answer = await this.send(url, { method: "POST", body });
        }
      }
      url = new URL(answer.headers.get("location"), url).href;
    }
    throw new Error(`no callback: ${url}`);
  }

  async start() {
    const answer = await this.send(`${app}/api/auth/identity/idp/start?return_to=/in`);
    return answer.headers.get("location");
  }

  async finish(callback) {
    const answer = await this.send(callback);
    same(answer.status, 303);
    return answer.headers.get("location");
  }

  async in(account) {
    return this.finish(await this.toCallback(await this.start(), account));
  }

  async isSignedIn() {
    return (await this.send(`${app}/api/auth/sessions`)).status === 200;
  }
}

function same(found, expected, all) {
  if (found !== expected) throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(expected)} ${all ?? ""}`);
}

function refused(location, error) {
  same(new URLSearchParams(location.split("#")[1]).get("error"), error);
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
console.log(issuer);

const owner = new Browser();
same((await owner.post("register?transport=cookie", { email: name, password })).status, 201);
// The account's address is not verified yet.
refused(await new Browser().in(`1,${name}`), "link_required");
console.log("registered");
same((await lines.next()).value, "verified");

// Neither an address that the provider has not verified, nor that of nobody.
refused(await new Browser().in(`1,${name},unverified`), "no_account");
refused(await new Browser().in("1,eve@example.org"), "no_account");

// The provider sends `iss` (RFC 9207); state, nonce and PKCE are right.
const browser = new Browser();
const callback = await browser.toCallback(await browser.start(), `1,${name}`);
same(new URL(callback).searchParams.get("iss"), issuer);
same(await browser.isSignedIn(), false);
const cookies = new Map(browser.jars.get(app));
same(await browser.finish(callback), "/in");
same(await browser.isSignedIn(), true);

// Repeated, also with the cookies of then; in another browser; with another state, issuer and code.
refused(await browser.finish(callback), "invalid_flow");
const again = new Browser();
again.jars.set(app, cookies);
refused(await again.finish(callback), "invalid_flow");
refused(await new Browser().finish(callback), "invalid_flow");
for (const [parameter, value] of [["state", "x"], ["iss", "https://other.example"], ["code", "x"]]) {
  const other = new Browser();
  const url = new URL(await other.toCallback(await other.start(), `1,${name}`));
  url.searchParams.set(parameter, value);
  refused(await other.finish(url.href), "identity_refused");
  same(await other.isSignedIn(), false);
}
// The code of one browser in another one that has begun too: PKCE and the nonce.
const [victim, attacker] = [new Browser(), new Browser()];
const stolen = new URL(await victim.toCallback(await victim.start(), `1,${name}`));
const own = new URL(await attacker.toCallback(await attacker.start(), "9"));
own.searchParams.set("code", stolen.searchParams.get("code"));
refused(await attacker.finish(own.href), "identity_refused");
same(await attacker.isSignedIn(), false);
// In parallel.
const quick = new Browser();
const once = await quick.toCallback(await quick.start(), `1,${name}`);
const answers = await Promise.all(Array.from({ length: 5 }, () => quick.finish(once)));
same(answers.filter((location) => location === "/in").length, 1, answers);

// The user declines.
refused(await new Browser().in(null), "access_denied");

// The signed-in user links another account of the provider, which belongs to nobody else then.
const link = async (user, account) => {
  const csrf = user.jars.get(app).get("csrf");
  const answer = await user.post("identity/idp/link", { return_to: "/account" }, { "x-csrf-token": csrf });
  same(answer.status, 200);
  return user.finish(await user.toCallback((await answer.json()).location, account));
};
same(await link(owner, "2"), "/account");
same(await new Browser().in("2"), "/in");
const eve = new Browser();
same((await eve.post("register?transport=cookie", { email: "eve@example.org", password })).status, 201);
refused(await link(eve, "2"), "identity_taken");
same((await new Browser().post("identity/idp/link", {})).status, 401);

console.log("done");
process.exit(0);
