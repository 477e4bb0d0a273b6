// Chromium for the tests of the page, with a profile of its own and nothing but this machine to talk to.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { load } from "../../support/script.mjs";

const { chromium } = (await load("playwright-core")).default;

/** Runs the work in a new browser. A script of the page that throws fails it, and so does an error on the
 * console that is not expected: a refused request is what the tests are about. */
export async function inBrowser(work, { viewport = { width: 1200, height: 900 }, args = [], expected = /^Failed to load resource/ } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "page-chromium-"));
  const browser = await chromium.launchPersistentContext(folder, {
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    timeout: 120_000,
    viewport,
    args: [
      "--no-sandbox", "--no-proxy-server", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      // Nothing leaves this machine.
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
      ...args,
    ],
  });
  // Nothing here takes long but where the machine is busy.
  browser.setDefaultTimeout(60_000);
  // `PAGE_DELAY_MS=400` sends every request of a page late, by chance: a script that reads too early fails.
  const late = Number(process.env.PAGE_DELAY_MS ?? 0);
  if (late) await browser.route(/./, (route) => {
    setTimeout(() => route.continue().catch(() => {}), Math.random() * late);
  });
  const broken = [];
  browser.on("page", (page) => {
    page.on("pageerror", (error) => broken.push(error));
    page.on("console", (message) => {
      if (message.type() === "error" && !expected.test(message.text())) broken.push(message.text());
    });
  });
  try {
    await work(browser);
    if (broken.length) throw new Error(`the page is broken: ${broken.join("\n")}`);
  } finally {
    await browser.close();
    // A process of the browser may still write to it.
    rmSync(folder, { recursive: true, force: true, maxRetries: 50, retryDelay: 100 });
  }
}

/** What a page shows once all of its work is done. Before that, its parts belong to different moments. */
export const settled = (page, selector, options) => page.locator(`html:not([data-busy]) ${selector}`, options);

/** Waits until the badge shows this kind of caller, and the page all that belongs to it. */
export async function shows(page, kind) {
  await settled(page, `#badge[data-kind="${kind}"]`).waitFor();
}

/** Waits until the page says this of what was done last. */
export async function says(page, text) {
  await settled(page, "#note:not(.bad)", { hasText: text }).waitFor();
}

/** Waits until the page says that what was done last is refused. */
export async function refuses(page, text) {
  await settled(page, "#note.bad", { hasText: text }).waitFor();
}

/** Has the page forget what it says, where the same text is expected once more. */
export async function forgetsNote(page) {
  await page.evaluate(() => { document.getElementById("note").textContent = ""; });
}

export async function signIn(page, name, password) {
  await page.fill("#login [name=email]", name);
  await page.fill("#login [name=password]", password);
  await page.click("#login button.main");
}

/** Calls a route on the page, and returns what the page says of it. */
export async function call(page, route, caller = "me") {
  await page.evaluate(() => { document.getElementById("answer").textContent = ""; });
  await page.selectOption("#api [name=route]", route);
  await page.selectOption("#api [name=caller]", caller);
  await page.click("#api button");
  const answer = settled(page, "#answer:has(p)");
  await answer.waitFor();
  return answer.innerText();
}

/** Pictures in a light and a dark room, and on a phone. */
export async function pictures(page, folder, name) {
  if (!folder) return;
  const size = page.viewportSize();
  await page.evaluate(() => window.scrollTo(0, 0));
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(folder, `${name}-${colorScheme}.png`), fullPage: true });
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize({ width: 360, height: 740 });
  await page.screenshot({ path: join(folder, `${name}-phone.png`), fullPage: true });
  await page.setViewportSize(size);
}
