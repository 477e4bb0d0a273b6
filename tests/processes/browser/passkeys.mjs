// Passkeys on the page of a running auth_server, in Chromium with a virtual authenticator (WebAuthn §11): as the
// only factor, as the second one, and removed. Fails on the first thing that is not as it should be.
//
// node passkeys.mjs '{"origin", "pictures"}'

import assert from "node:assert/strict";

import { isAccessible, worksByKeyboard } from "./accessible.mjs";
import { inBrowser, pictures, shows, signIn } from "./chromium.mjs";

const { origin, pictures: folder } = JSON.parse(process.argv[2]);
const [NAME, PASSWORD] = ["demo@example.org", "demo-password"];
const note = (page, text) => page.locator("#note", { hasText: text }).waitFor();
const bad = (page, text) => page.locator("#note.bad", { hasText: text }).waitFor();
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
  const cdp = await browser.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  const options = {
    protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
    isUserVerified: true, automaticPresenceSimulation: true,
  };
  const { authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", { options });
  const kept = async () => (await cdp.send("WebAuthn.getCredentials", { authenticatorId })).credentials;
  await page.goto(origin);
  await page.locator("#with-passkey").waitFor();
  assert.ok(await page.isHidden("#passkeys-at"));

  // No passkey is there yet.
  await page.click("#with-passkey");
  await bad(page, "No passkey was used.");
  await shows(page, "nobody");

  // Registration. The authenticator keeps one passkey of an account.
  await signIn(page, NAME, PASSWORD);
  await shows(page, "user");
  await page.locator("#passkeys-about", { hasText: "There is none" }).waitFor();
  await add(page, "My laptop");
  await note(page, "The passkey signs you in from now on.");
  assert.equal((await kept()).length, 1);
  assert.ok((await kept())[0].isResidentCredential);
  assert.match(await listed(page).innerText(), /^My laptop\s+added just now, never used/);
  await add(page, "Again");
  await bad(page, "has a passkey of yours already");
  assert.equal(await listed(page).count(), 1);
  await worksByKeyboard(page, "passkeys");
  await isAccessible(page, "passkeys");
  await pictures(page, folder, "passkeys");
  await signOut(page);

  // The only factor, in cookies and in memory.
  await page.click("#with-passkey");
  await shows(page, "user");
  assert.match(await amr(page), /\["pop","user","mfa"\]/);
  await listed(page).filter({ hasText: "last used just now" }).waitFor();
  await signOut(page);
  await page.getByRole("radio", { name: /in memory/ }).check();
  await page.click("#with-passkey");
  await shows(page, "user");
  assert.match(await page.innerText("#token-from"), /which this page holds/);
  // The list comes after the badge.
  await listed(page).waitFor();
  await signOut(page);
  await page.getByRole("radio", { name: /in cookies/ }).check();

  // The second factor after the password.
  await signIn(page, NAME, PASSWORD);
  await note(page, "Another factor is required.");
  await page.locator("#use-passkey").waitFor();
  assert.ok(await page.isHidden("#by-code"));
  await shows(page, "nobody");
  await isAccessible(page, "second step");
  await pictures(page, folder, "second");
  await page.click("#back");
  assert.ok(await page.isVisible("#login"));
  await signIn(page, NAME, PASSWORD);
  await page.click("#use-passkey");
  await shows(page, "user");
  assert.match(await amr(page), /\["pwd","pop","user"\]/);
  await signOut(page);

  // A user whom the authenticator does not verify.
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: false });
  await page.click("#with-passkey");
  await bad(page, "No passkey was used.");
  await shows(page, "nobody");
  await cdp.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified: true });

  // A copy of the authenticator, whose counter is behind.
  const [copied] = await kept();
  assert.ok(copied.signCount > 1);
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: copied.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...copied, signCount: 1 } });
  await page.click("#with-passkey");
  await bad(page, "The passkey is not accepted");
  await shows(page, "nobody");
  await cdp.send("WebAuthn.removeCredential", { authenticatorId, credentialId: copied.credentialId });
  await cdp.send("WebAuthn.addCredential", { authenticatorId, credential: { ...copied, signCount: copied.signCount + 5 } });

  // Removed: it opens nothing, and the password suffices.
  await page.click("#with-passkey");
  await shows(page, "user");
  await listed(page).getByRole("button", { name: "Remove the passkey: My laptop" }).click();
  await note(page, "The passkey is removed.");
  assert.equal(await listed(page).count(), 0);
  await signOut(page);
  await page.click("#with-passkey");
  await bad(page, "The passkey is not accepted");
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
