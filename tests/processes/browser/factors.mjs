// Clicks the second factor on the page of a running auth_server: enrolment, both kinds of codes, a remembered
// device, and the links that the server prints. Fails on the first thing that is not as it should be.
//
// node factors.mjs '{"origin", "name", "password", "log", "pictures"}'

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

import { forgetsNote, inBrowser, pictures, refuses, says, shows, signIn } from "./chromium.mjs";

const { origin, name, password, log, pictures: folder } = JSON.parse(process.argv[2]);
const NEW = "a new password of the tests";

/** The code of an authenticator app at this time, in seconds (RFC 6238). */
function totp(secret, time) {
  const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  const bits = [...secret].map((letter) => alphabet.indexOf(letter).toString(2).padStart(5, "0")).join("");
  const key = Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(time / 30)));
  const digest = createHmac("sha1", key).update(counter).digest();
  const number = digest.readUInt32BE(digest[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

const now = () => Date.now() / 1000;

/** A code that is wrong now and in the minutes around it. */
function wrong(secret) {
  const near = Array.from({ length: 20 }, (_, step) => totp(secret, now() + 30 * (step - 4)));
  return ["000000", "111111", "222222"].find((code) => !near.includes(code));
}

/** The link to this page that the server prints. */
async function printed(path) {
  for (const since = Date.now(); Date.now() < since + 60_000;) {
    const [link] = readFileSync(log, "utf8").match(new RegExp(`${origin}${path}#\\S+(?=\\n)`)) ?? [];
    if (link) return link;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`no link to ${path}`);
}

const button = (page, value) => page.locator(`#prove button[value="${value}"]`);

async function press(page, value, code) {
  if (code) await page.fill("#prove [name=code]", code);
  await button(page, value).click();
}

async function signOut(page) {
  await page.click("#logout");
  await shows(page, "nobody");
}

/** The first step with the password, and the form of the second one. */
async function firstStep(page, text = password) {
  await signIn(page, name, text);
  await says(page, "Another factor is required.");
  await page.locator("#code").waitFor();
}

async function secondStep(page, code, remember = false) {
  await page.fill("#code [name=code]", code);
  await page.setChecked("#code [name=remember]", remember);
  await page.click("#code .main");
}

const amr = (page) => page.locator("#claims tr", { hasText: "how you proved who you are" }).innerText();

await inBrowser(async (browser) => {
  const page = await browser.newPage();
  await page.goto(origin);
  await signIn(page, name, password);
  await shows(page, "user");

  // Enrolment.
  await page.locator("#factor", { hasText: "the password only" }).waitFor();
  assert.ok(await button(page, "totp/confirm").isHidden());
  await press(page, "totp");
  await says(page, "Enter the first code of the app.");
  await page.locator("#picture svg").waitFor();
  await pictures(page, folder, "enrolment");
  const secret = await page.innerText("#secret");
  assert.match(secret, /^[A-Z2-7]{32}$/);
  await press(page, "totp/confirm", wrong(secret));
  await refuses(page, "wrong");
  const first = totp(secret, now());
  await press(page, "totp/confirm", first);
  await says(page, "Signing in needs a code from now on.");
  const codes = (await page.innerText("#codes")).trim().split("\n");
  assert.equal(codes.length, 10);
  await page.locator("#factor", { hasText: "10 recovery codes are left" }).waitFor();
  await pictures(page, folder, "recovery");
  await signOut(page);
  // The next user of the page may be another person.
  assert.deepEqual(await page.locator("#secret, #picture, #codes, #sessions").allInnerTexts(), ["", "", "", ""]);
  assert.equal(await page.locator("#picture svg").count(), 0);

  // The second step: a wrong code, a spent one, and the next one.
  await firstStep(page);
  await pictures(page, folder, "second");
  for (const bad of [wrong(secret), first]) {
    await secondStep(page, bad);
    await refuses(page, "wrong or was used");
    await forgetsNote(page);
  }
  await secondStep(page, totp(secret, now() + 30));
  await shows(page, "user");
  assert.match(await amr(page), /\["pwd","otp"\]/);
  await signOut(page);

  // Back to the first step, and a recovery code, once. This device is remembered.
  await firstStep(page);
  await page.click("#back");
  await firstStep(page);
  await secondStep(page, codes[0], true);
  await shows(page, "user");
  await page.locator("#factor", { hasText: "9 recovery codes are left" }).waitFor();
  assert.ok((await browser.cookies(origin)).some((cookie) => cookie.name === "rmd" && cookie.httpOnly));
  await signOut(page);
  await signIn(page, name, password);
  await shows(page, "user");
  assert.match(await amr(page), /\["pwd"\]/);
  await press(page, "step-up", codes[0]);
  await refuses(page, "wrong or was used");
  await press(page, "step-up", codes[1]);
  await says(page, "A new session, with both factors.");
  assert.match(await amr(page), /\["pwd","otp"\]/);
  await signOut(page);

  // A link from a mail signs in, in this browser. The address was never verified, so that the second factor
  // counts as that of another person, and is gone.
  await page.fill("#login [name=email]", name);
  await page.click("#by-mail");
  await says(page, "printed or sent a link");
  await page.goto(await printed("/sign-in"));
  await page.click("#use .main");
  await says(page, "You are signed in.");
  await page.goto(origin);
  await shows(page, "user");
  await page.locator("#factor", { hasText: "the password only" }).waitFor();
  await signOut(page);
  await signIn(page, name, password);
  await refuses(page, "Invalid credentials");

  // A new password by a link, which works once.
  await page.fill("#login [name=email]", name);
  await page.click("#forgot");
  await says(page, "printed or sent a link");
  const link = await printed("/reset-password");
  for (const [text, answer] of [["short", null], [NEW, "The password is set."], ["another long password", "not valid any more"]]) {
    // Another page of the same address would not be loaded.
    await page.goto("about:blank");
    await page.goto(link);
    assert.doesNotMatch(page.url(), /token/, "the token is not in the address bar");
    await page.fill("#use [name=new_password]", text);
    await page.click("#use .main");
    if (answer) await page.locator("#note", { hasText: answer }).waitFor();
  }
  await page.goto(origin);
  await signIn(page, name, NEW);
  await shows(page, "user");
});
console.log("done");
