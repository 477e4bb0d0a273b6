// Walks the page of a running auth_server with Chromium: as a stranger, a guest, a user and an attacker, with
// the mouse and with the keyboard, and judges it as a screen reader would. Fails on the first thing that is
// not as it should be.
//
// node page.mjs '{"origin", "pictures"}'

import assert from "node:assert/strict";

import { isAccessible, worksByKeyboard } from "./accessible.mjs";
import { call, inBrowser, pictures, refuses, says, settled, shows, signIn } from "./chromium.mjs";

const asked = JSON.parse(process.argv[2]);
const { origin } = asked;
// Of the server, in milliseconds.
const GRACE = 2000;
const newcomer = `new-${process.pid}@example.org`;

const event = (page, name) => page.locator("#events li", { hasText: name }).first().waitFor();
const bubbles = (page) => page.locator("#chat .message").allInnerTexts();

async function say(page, text) {
  await page.fill("#text", text);
  await page.press("#text", "Enter");
  await page.locator("#chat .message.bot", { hasText: `You said: ${text}` }).waitFor();
}

await inBrowser(async (browser) => {
  const page = await browser.newPage();
  await page.goto(origin);
  await shows(page, "nobody");
  await page.locator("#demo button").first().waitFor();
  assert.deepEqual(await browser.cookies(), [], "looking makes no guest");
  await worksByKeyboard(page, "nobody");
  await isAccessible(page, "nobody");
  await pictures(page, asked.pictures, "nobody");

  await asAGuest(page);
  await asAUser(page, browser);
  await asAnAttacker(page);
});
console.log("done");

async function asAGuest(page) {
  // A guest is made for the first message, by keyboard alone.
  await say(page, "hello there");
  await shows(page, "guest");
  await page.locator("#socket", { hasText: "socket open" }).waitFor();
  await page.locator("#live", { hasText: "live" }).waitFor();
  await page.reload();
  await shows(page, "guest");
  assert.deepEqual(await bubbles(page), ["hello there", "You said: hello there"]);
  assert.ok(await page.isVisible("#keep"));
  await say(page, "still here");

  // Who registers keeps the conversation, and the guest's socket is closed.
  await page.fill("#login [name=email]", newcomer);
  await page.fill("#login [name=password]", "a password of the tests");
  await page.click("#register");
  await shows(page, "user");
  await says(page, "The conversation is yours.");
  const kept = await bubbles(page);
  assert.equal(kept.length, 4);
  assert.match(kept[0], /^hello there\s+as a guest$/);
  await say(page, "it is me");
  await page.click("#logout");
  await shows(page, "nobody");
  await page.locator("#socket", { hasText: "closed: 4401 token_revoked" }).waitFor();
  assert.deepEqual(await bubbles(page), [], "nothing of it is left on the page");

  // A wrong password says so.
  await signIn(page, newcomer, "not this one");
  await refuses(page, "Invalid credentials");
  await shows(page, "nobody");
}

async function asAUser(page, browser) {
  await page.getByRole("button", { name: "Sign in as the demo user" }).click();
  await shows(page, "user");
  const names = (await browser.cookies([origin, `${origin}/api/auth/refresh`])).map(({ name }) => name).sort();
  // The devices of the user and of the guest that was here before.
  assert.deepEqual(names, ["at", "csrf", "dvc", "gst", "rt"]);
  assert.doesNotMatch(await page.innerText("#badge"), /@/, "a subject is no address");
  assert.match(await page.innerText("#token-from"), /From \/api\/me/);
  const claims = await page.locator("#claims th").allInnerTexts();
  for (const claim of ["iss", "sub", "aud", "exp", "iat", "jti", "sid", "roles"]) {
    assert.ok(claims.includes(claim), `${claim}: ${claims}`);
  }
  const without = page.locator("#claims tr", { hasText: "a claim of this application" });
  assert.deepEqual(await without.allInnerTexts(), [], "each claim has its meaning");
  assert.match(await page.innerText("#left-text"), /^\d+:\d\d left$/);

  // The same call by three callers.
  const admins = "GET /api/admin/users";
  assert.match(await call(page, "GET /api/me"), /GET \/api\/me → 200/);
  const denied = await call(page, admins);
  assert.match(denied, /→ 403/);
  assert.match(denied, /WWW-Authenticate: Bearer .*insufficient_scope/);
  assert.match(await call(page, admins, "admin@example.org"), /→ 200[^]*demo@example\.org/);
  const unknown = await call(page, admins, "nobody");
  assert.match(unknown, /→ 401\s+WWW-Authenticate: Bearer/);
  assert.match(await call(page, "GET /public", "nobody"), /→ 200[^]*false/);

  // Two more sessions: one is ended alone, one with "the others".
  const others = page.locator("#sessions li").filter({ hasNotText: "this one" });
  for (const end of [() => others.getByRole("button").click(), () => page.click("#others")]) {
    const body = { email: "demo@example.org", password: "demo-password" };
    const phone = { "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Safari/604.1" };
    const elsewhere = await fetch(`${origin}/api/auth/login`, {
      method: "POST", headers: { "content-type": "application/json", ...phone }, body: JSON.stringify(body),
    });
    const token = (await elsewhere.json()).access_token;
    await page.click("#refresh");
    await others.getByText("Safari on iPhone").waitFor();
    await end();
    await others.waitFor({ state: "detached" });
    await shows(page, "user");
    const over = await fetch(`${origin}/api/me`, { headers: { authorization: `Bearer ${token}` } });
    assert.equal(over.status, 401);
  }
  await event(page, "session.refreshed");
  await shows(page, "user");
  await worksByKeyboard(page, "user");
  await isAccessible(page, "user");
  await pictures(page, asked.pictures, "user");

  // What ends elsewhere ends here: the stream of events says so.
  const second = await browser.newPage();
  await second.goto(origin);
  await shows(second, "user");
  await page.locator("#live", { hasText: "live" }).waitFor();
  await second.click("#all");
  await shows(second, "nobody");
  await shows(page, "nobody");
  await event(page, "the stream ended");
  await second.close();
}

async function asAnAttacker(page) {
  const attack = (name) => page.locator(`[data-attack=${name}]`);
  const result = async (name) => {
    await attack(name).click();
    const box = settled(page, `[data-attack=${name}] + .answer:has(p:nth-child(2))`);
    await box.waitFor();
    return { text: await box.innerText(), good: /good/.test(await box.getAttribute("class")) };
  };
  const good = async (name) => {
    const { text, good } = await result(name);
    assert.ok(good, text);
    return text;
  };
  assert.ok(await attack("replay").isDisabled());
  await page.getByRole("radio", { name: /in memory/ }).check();
  await shows(page, "nobody");
  await say(page, "with a token in memory");
  await shows(page, "guest");
  await page.getByRole("button", { name: "Sign in as the demo user" }).click();
  await shows(page, "user");
  await says(page, "The conversation is yours.");
  await page.locator("#live", { hasText: "live" }).waitFor();
  const kept = await page.evaluate(() => localStorage.length + sessionStorage.length + document.cookie.length);
  assert.equal(kept, 0, "in memory is in memory");
  await page.click("#raw-box summary");
  assert.match(await page.innerText("#raw"), /^[\w-]+\.[\w-]+\.[\w-]+$/);
  assert.ok((await page.locator("#claims th").allInnerTexts()).includes("alg"));

  // The socket goes on with the next token.
  await say(page, "before the refresh");
  await page.click("#refresh");
  await says(page, "A new access token.");
  await say(page, "after it");
  await page.locator("#socket", { hasText: "socket open" }).waitFor();

  // Refreshes that are further apart than the grace window of the test are no crowd: then again.
  for (let tries = 0; ; tries += 1) {
    const begun = Date.now();
    const { text, good } = await result("tabs");
    if (!good && Date.now() - begun > GRACE && tries < 10) continue;
    assert.ok(good, text);
    assert.match(text, /200, 200, 200, 200, 200\s+1 successor/);
    break;
  }
  const forged = await good("forge");
  assert.equal(forged.match(/→ 401 invalid_token/g).length, 2, forged);
  assert.match(await good("audience"), /another-api[^]*→ 401 invalid_token/);
  await shows(page, "user");
  await isAccessible(page, "attacked");
  await pictures(page, asked.pictures, "attacked");
  const replayed = await good("replay");
  assert.match(replayed, /→ 400 invalid_grant/);
  assert.match(replayed, /session\.reuse_detected/);
  assert.match(replayed, /\/api\/me → 401 invalid_token/);
  await shows(page, "nobody");
  await event(page, "session.reuse_detected");
  await page.locator("#socket", { hasText: "closed: 4401 token_revoked" }).waitFor();
  await pictures(page, asked.pictures, "replayed");
  await page.reload();
  await shows(page, "nobody");
  assert.ok(await page.getByRole("radio", { name: /in memory/ }).isChecked());
}
