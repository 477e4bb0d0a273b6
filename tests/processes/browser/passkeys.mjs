// Passkeys on the page of a running auth_server, in Chromium with a virtual authenticator (WebAuthn §11): as the
// only factor, as the second one, and removed. Fails on the first thing that is not as it should be.
//
// node passkeys.mjs '{"origin", "pictures"}'

import assert from "node:assert/strict";

import { isAccessible, worksByKeyboard } from "./accessible.mjs";
import { authenticator } from "./authenticator.mjs";
import { inBrowser, pictures, refuses, says, shows, signIn } from "./chromium.mjs";

const { origin, pictures: folder } = JSON.parse(process.argv[2]);
const [NAME, PASSWORD] = ["demo@example.org", "demo-password"];
const amr = (page) => page.locator("#claims tr", { hasText: "how you proved who you are" }).innerText();
const listed = (page) => page.locator("#passkey-list li");

async function signOut(page) {
  await page.click("#logout");
  await shows(page, "nobody");
}

async function add(page, label) {
  await page.fill("#add-passkey [name=label]", label);
  await page.click("#add-passkey button");
}

await inBrowser(async (browser) => {
  const page = await browser.newPage();
  const device = await authenticator(browser, page);
  await page.goto(origin);
  await page.locator("#with-passkey").waitFor();
  assert.ok(await page.isHidden("#passkeys-at"));

  // No passkey is there yet.
  await page.click("#with-passkey");
  await refuses(page, "No passkey was used.");
  await shows(page, "nobody");

  // Registration. The authenticator keeps one passkey of an account.
  await signIn(page, NAME, PASSWORD);
  await shows(page, "user");
  await page.locator("#passkeys-about", { hasText: "There is none" }).waitFor();
  await add(page, "My laptop");
  await says(page, "The passkey signs you in from now on.");
  assert.deepEqual((await device.credentials()).map(({ isResidentCredential }) => isResidentCredential), [true]);
  assert.match(await listed(page).innerText(), /^My laptop\s+added (just now|\d+ minutes? ago), never used/);
  await add(page, "Again");
  await refuses(page, "has a passkey of yours already");
  assert.equal(await listed(page).count(), 1);
  await worksByKeyboard(page, "passkeys");
  await isAccessible(page, "passkeys");
  await pictures(page, folder, "passkeys");
  await signOut(page);

  // The only factor, in cookies and in memory.
  await page.click("#with-passkey");
  await shows(page, "user");
  assert.match(await amr(page), /\["pop","user","mfa"\]/);
  await listed(page).filter({ hasText: /last used (just now|\d+ minutes? ago)/ }).waitFor();
  await signOut(page);
  await page.getByRole("radio", { name: /in memory/ }).check();
  await page.click("#with-passkey");
  await shows(page, "user");
  assert.match(await page.innerText("#token-from"), /which this page holds/);
  assert.equal(await listed(page).count(), 1);
  await signOut(page);
  await page.getByRole("radio", { name: /in cookies/ }).check();

  // The second factor after the password.
  await signIn(page, NAME, PASSWORD);
  await says(page, "Another factor is required.");
  await page.locator("#use-passkey").waitFor();
  assert.ok(await page.isHidden("#by-code"));
  await shows(page, "nobody");
  await isAccessible(page, "second step");
  await pictures(page, folder, "second");
  await page.click("#back");
  await page.locator("#login").waitFor();
  await signIn(page, NAME, PASSWORD);
  await page.click("#use-passkey");
  await shows(page, "user");
  assert.match(await amr(page), /\["pwd","pop","user"\]/);
  await signOut(page);

  // A user whom the authenticator does not verify.
  await device.send("setUserVerified", { isUserVerified: false });
  await page.click("#with-passkey");
  await refuses(page, "No passkey was used.");
  await shows(page, "nobody");
  await device.send("setUserVerified", { isUserVerified: true });

  // A copy of the authenticator, whose counter is behind.
  const [copied] = await device.credentials();
  assert.ok(copied.signCount > 1);
  await device.send("removeCredential", { credentialId: copied.credentialId });
  await device.send("addCredential", { credential: { ...copied, signCount: 1 } });
  await page.click("#with-passkey");
  await refuses(page, "The passkey is not accepted");
  await shows(page, "nobody");
  await device.send("removeCredential", { credentialId: copied.credentialId });
  await device.send("addCredential", { credential: { ...copied, signCount: copied.signCount + 5 } });

  // Removed: it opens nothing, and the password suffices.
  await page.click("#with-passkey");
  await shows(page, "user");
  await listed(page).getByRole("button", { name: "Remove the passkey: My laptop" }).click();
  await says(page, "The passkey is removed.");
  assert.equal(await listed(page).count(), 0);
  await signOut(page);
  await page.click("#with-passkey");
  await refuses(page, "The passkey is not accepted");
  await shows(page, "nobody");
  await signIn(page, NAME, PASSWORD);
  await shows(page, "user");
  assert.match(await amr(page), /\["pwd"\]/);

  // Under an IP address the page says where passkeys work.
  const other = await browser.newPage();
  await other.goto(origin.replace("localhost", "127.0.0.1"));
  await other.locator("#passkeys-at a", { hasText: origin }).waitFor();
  assert.ok(await other.isHidden("#with-passkey"));
});
console.log("done");
