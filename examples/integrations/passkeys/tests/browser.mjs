// The page in Chromium with a virtual authenticator (WebAuthn §11), and what an attacker does with its responses.

import { authenticator } from "../../../../tests/processes/browser/authenticator.mjs";
import { inBrowser } from "../../../../tests/processes/browser/chromium.mjs";

const [origin] = process.argv.slice(2);
const PASSWORD = "correct horse battery staple";

function same(found, expected, what = "") {
  if (found !== expected) throw new Error(`${what}${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);
}

await inBrowser(async (browser) => {
  const page = await browser.newPage();
  const device = await authenticator(browser, page);
  await page.goto(origin);

  const shows = async (text) => {
    try {
      await page.waitForFunction((text) => document.getElementById("state").textContent === text, text);
    } catch {
      same(await page.textContent("#state"), text);
    }
  };
  const click = async (selector, text) => {
    await page.evaluate(() => { document.getElementById("state").textContent = "-"; });
    await page.click(selector);
    await shows(text);
  };
  const withPassword = async (act, email, text) => {
    await page.fill("[name=email]", email);
    await page.fill("[name=password]", PASSWORD);
    await click(`[value=${act}]`, text);
  };
  const isSignedIn = () => page.evaluate(async () => (await fetch("/api/auth/sessions")).status === 200);

  // Registration, and signing in with the passkey alone.
  await withPassword("register", "ada@example.org", "signed in");
  await click("#add", "added");
  const kept = await device.credentials();
  same(kept.length, 1);
  same(kept[0].isResidentCredential, true);
  // The authenticator has a passkey of this account already.
  await page.evaluate(() => { document.getElementById("state").textContent = "-"; });
  await page.click("#add");
  await page.waitForFunction(() => document.getElementById("state").textContent.startsWith("refused"));
  await click("#out", "signed out");
  same(await isSignedIn(), false);
  await click("#passkey", "signed in with a passkey");
  same(await isSignedIn(), true);
  await click("#out", "signed out");

  // A password and the passkey.
  await withPassword("login", "ada@example.org", "signed in with two factors");
  same(await isSignedIn(), true);
  const amr = await page.evaluate(async () => (await (await fetch("/api/auth/passkeys")).json()).passkeys.length);
  same(amr, 1);
  await click("#out", "signed out");

  // The requests of the page, without the page.
  const api = (path, body = {}) => page.evaluate(async ({ path, body }) => {
    const csrf = document.cookie.match(/(?:^|; )csrf=([^;]*)/)?.[1] ?? "";
    const answer = await fetch(`/api/auth/${path}`, {
      method: "POST", headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify({ transport: "cookie", ...body }),
    });
    const text = await answer.text();
    return { status: answer.status, ...(text && JSON.parse(text)) };
  }, { path, body });
  const respond = (options) => page.evaluate(async (options) => {
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
    return JSON.stringify((await navigator.credentials.get({ publicKey })).toJSON());
  }, options);
  const assertion = async () => respond((await api("passkeys/options")).publicKey);
  const use = (credential, more = {}) => api("passkeys/sign-in", { credential, ...more });

  // Once, for its own challenge.
  const once = await assertion();
  same((await use(once)).status, 200);
  await api("logout");
  same((await use(once)).error, "invalid_flow");
  await api("passkeys/options");
  same((await use(once)).error, "invalid_passkey", "another challenge: ");
  // In parallel.
  const shared = await assertion();
  const answers = await Promise.all(Array.from({ length: 5 }, () => use(shared)));
  same(answers.filter((answer) => answer.status === 200).length, 1);
  await api("logout");
  // Changed: the signature, the challenge, the origin.
  for (const change of [
    (response) => { response.signature = `${response.signature.slice(0, -4)}AAAA`; },
    (response) => { response.clientDataJSON = btoa(atob(response.clientDataJSON.replaceAll("-", "+").replaceAll("_", "/")).replace("localhost", "localhosx")).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", ""); },
    (response) => { response.userHandle = "AAAAAAAAAAAAAAAAAAAAAA"; },
  ]) {
    const credential = JSON.parse(await assertion());
    change(credential.response);
    same((await use(JSON.stringify(credential))).error, "invalid_passkey");
  }
  same(await isSignedIn(), false);
  // A response that was stolen, in another browser.
  const stolen = await assertion();
  const thief = await fetch(`${origin}/api/auth/passkeys/sign-in`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ credential: stolen }),
  });
  same((await thief.json()).error, "invalid_flow");

  // A copy of the authenticator: its counter is behind.
  const [copied] = await device.credentials();
  same((await use(await assertion())).status, 200);
  await api("logout");
  await device.replace();
  await device.send("addCredential", { credential: { ...copied, signCount: 1 } });
  same((await use(await assertion())).error, "invalid_passkey", "a copy: ");
  same(await isSignedIn(), false);

  // The passkey of another account is no second factor.
  await device.replace();
  await withPassword("register", "eve@example.org", "signed in");
  await click("#add", "added");
  await click("#out", "signed out");
  const first = await api("login", { email: "ada@example.org", password: PASSWORD });
  same(first.error, "mfa_required");
  same((await use(await assertion(), { mfa_token: first.mfa_token })).error, "invalid_passkey");
  same(await isSignedIn(), false);
  // Alone, it signs in to its own account.
  same((await use(await assertion())).status, 200);
});
console.log("done");
process.exit(0);
