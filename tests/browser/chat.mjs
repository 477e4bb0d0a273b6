// Chats on the page of a running chatbot with Chromium: as a stranger, signed in, in a second tab, and
// as a stranger again. Fails on the first thing that is not as it should be.
//
// node chat.mjs '{"origin", "pictures"}'

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const resolved = createRequire(import.meta.url).resolve("playwright-core");
const { chromium } = (await import(pathToFileURL(resolved).href)).default;

const { origin, pictures } = JSON.parse(process.argv[2]);
const folder = mkdtempSync(join(tmpdir(), "chatbot-chromium-"));
const browser = await chromium.launchPersistentContext(folder, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  timeout: 120_000,
  viewport: { width: 900, height: 620 },
  args: [
    "--no-sandbox", "--no-proxy-server", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    // Nothing leaves this machine.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
  ],
});
// Nothing here takes long but where the machine is busy.
browser.setDefaultTimeout(60_000);

const badge = (page, text) => page.locator("#badge", { hasText: text }).waitFor();
const lines = (page) => page.locator(".message").allInnerTexts();
async function say(page, text, reply) {
  const before = await page.locator(".message.bot").count();
  await page.fill("#say input", text);
  await page.click("#say button");
  await page.locator(".message.bot[data-done]").nth(0).waitFor();
  await page.waitForFunction((count) =>
    document.querySelectorAll(".message.bot").length > count &&
    document.querySelector(".message.bot:last-child")?.dataset.done, before);
  assert.equal((await page.locator(".message.bot").last().innerText()).trim(), reply);
}

try {
  const page = await browser.newPage();
  await page.goto(origin);
  await badge(page, "nobody yet");
  assert.deepEqual(await browser.cookies(), [], "looking makes no guest");

  await say(page, "hello there", "You said: hello there");
  await badge(page, "a guest");
  await say(page, "add milk", "Sign in to add tasks; what you said here stays.");
  const guest = (await (await page.request.get(`${origin}/chat/context`)).json()).conversation;
  assert.match(guest, /^gst_/);
  await page.screenshot({ path: `${pictures}/guest.png` });

  // A page that was loaded again knows the guest.
  await page.reload();
  await badge(page, "a guest");
  assert.equal((await lines(page)).length, 4);

  // A wrong password says so and costs nothing.
  await page.fill("#login [name=email]", "demo@example.org");
  await page.fill("#login [name=password]", "a wrong password");
  await page.click("#login button");
  await page.locator("#note", { hasText: "Invalid credentials" }).waitFor();
  await page.fill("#login [name=password]", "demo-password");
  await page.click("#login button");
  await badge(page, "u-demo");
  const kept = await lines(page);
  assert.equal(kept.length, 4, "the conversation goes on");
  assert.match(kept[0], /^hello there\s+as a guest$/);

  await say(page, "add milk", "Added: milk");
  await page.locator("#tasks li", { hasText: "milk" }).waitFor();
  await page.screenshot({ path: `${pictures}/user.png` });

  const second = await browser.newPage();
  await second.goto(origin);
  await badge(second, "u-demo");
  await second.locator("#tasks li button").click();
  await second.locator("#tasks li.done", { hasText: "milk" }).waitFor();
  await say(second, "tasks", "1. milk (done)");
  await second.emulateMedia({ colorScheme: "dark" });
  await second.screenshot({ path: `${pictures}/dark.png` });
  await second.setViewportSize({ width: 420, height: 800 });
  await second.screenshot({ path: `${pictures}/narrow.png`, fullPage: true });

  // A socket of the page's own, which has the cookie; it ends when its session does.
  const heard = await page.evaluate(() => new Promise((done, failed) => {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/chat/ws`);
    window.ended = new Promise((closed) => socket.addEventListener("close", ({ code }) => closed(code)));
    socket.addEventListener("error", () => failed(new Error("no socket")));
    socket.addEventListener("open", () => socket.send("over a socket"));
    socket.addEventListener("message", ({ data }) => done(JSON.parse(data).reply));
  }));
  assert.equal(heard, "You said: over a socket");

  await page.click("#logout");
  assert.equal(await page.evaluate(() => window.ended), 4401);
  await badge(page, "nobody yet");
  assert.deepEqual(await lines(page), [], "nothing of it is left on the page");
  await say(page, "who am I", "You said: who am I");
  await badge(page, "a guest");
  const next = (await (await page.request.get(`${origin}/chat/context`)).json()).conversation;
  assert.match(next, /^gst_/);
  assert.notEqual(next, guest, "a new guest, never the old one");
  await page.reload();
  await badge(page, "a guest");
  assert.equal((await lines(page)).length, 2);
  console.log("done");
} finally {
  await browser.close();
  rmSync(folder, { recursive: true, force: true });
}
