// Binds the tokens of the page to a key of Chromium, and uses copies of them elsewhere. Fails on the first thing
// that is not as it should be.
//
// node bound.mjs '{"origin", "pictures"}'

import assert from "node:assert/strict";

import { call, inBrowser, pictures, says, settled, shows } from "./chromium.mjs";

const asked = JSON.parse(process.argv[2]);
const { origin } = asked;

const attack = async (page) => {
  // The answer of an attack before is still there.
  await page.evaluate(() => document.querySelector("[data-attack=elsewhere] + .answer").replaceChildren());
  await page.click("[data-attack=elsewhere]");
  const box = settled(page, "[data-attack=elsewhere] + .answer:has(p:nth-child(3))");
  await box.waitFor();
  return { text: await box.innerText(), good: /good/.test(await box.getAttribute("class")) };
};
const signIn = async (page) => {
  await page.getByRole("button", { name: "Sign in as the demo user" }).click();
  await shows(page, "user");
};

await inBrowser(async (browser) => {
  const page = await browser.newPage();
  await page.goto(origin);
  await shows(page, "nobody");

  // Tokens in memory work everywhere.
  await page.getByRole("radio", { name: /in memory/ }).check();
  await signIn(page);
  const stolen = await attack(page);
  assert.ok(!stolen.good, stolen.text);
  assert.match(stolen.text, /The access token alone → 200/);

  // A guest and the user after it, bound to the browser.
  await page.getByRole("radio", { name: /bound to this browser/ }).check();
  await shows(page, "nobody");
  await page.fill("#text", "hello");
  await page.press("#text", "Enter");
  await shows(page, "guest");
  await page.locator("#chat .message.bot", { hasText: "You said: hello" }).waitFor();
  await signIn(page);
  await says(page, "The conversation is yours.");
  assert.ok((await page.locator("#claims th").allInnerTexts()).includes("cnf"));
  await page.locator("#sessions li", { hasText: "this one" }).getByText("bound", { exact: true }).waitFor();
  await page.locator("#live", { hasText: "live" }).waitFor();
  assert.match(await call(page, "GET /api/me"), /GET \/api\/me → 200/);
  assert.deepEqual(await browser.cookies(), []);

  const refused = await attack(page);
  assert.ok(refused.good, refused.text);
  assert.match(refused.text, /The access token alone → 401 invalid_token/);
  assert.match(refused.text, /With a proof by the thief's key → 401 invalid_token/);
  assert.match(refused.text, /With a proof that you sent before \(200\) → 401 invalid_dpop_proof/);
  assert.match(refused.text, /The refresh token, with the thief's key → 400 invalid_dpop_proof/);
  assert.match(refused.text, /your session goes on: \/api\/me → 200/);
  await page.locator("#events li", { hasText: "session.not_proved" }).first().waitFor();
  await pictures(page, asked.pictures, "bound");
  console.error(refused.text);

  // No script gets the key, and the session goes on after a reload and in a second tab.
  const copied = await page.evaluate(async () => {
    const database = await new Promise((done) => {
      const request = indexedDB.open("auth_server", 1);
      request.onsuccess = () => done(request.result);
    });
    const { privateKey } = await new Promise((done) => {
      const request = database.transaction("bound").objectStore("bound").get("key");
      request.onsuccess = () => done(request.result);
    });
    const exported = crypto.subtle.exportKey("jwk", privateKey);
    return exported.then(() => "copied", (error) => error.name);
  });
  assert.equal(copied, "InvalidAccessError");
  await page.reload();
  await shows(page, "user");
  await page.click("#refresh");
  await says(page, "A new access token.");
  const second = await browser.newPage();
  await second.goto(`${origin}/#bound`);
  await shows(second, "user");
  await second.close();

  await page.click("#logout");
  await shows(page, "nobody");
  await page.reload();
  await shows(page, "nobody");
});
console.log("done");
