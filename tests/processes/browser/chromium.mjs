// Chromium for the tests of the page, with a profile of its own and nothing but this machine to talk to.

import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
export const resolved = (name) => createRequire(import.meta.url).resolve(name);
const { chromium } = (await import(pathToFileURL(resolved("playwright-core")).href)).default;

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
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Waits until the badge shows this kind of caller. */
export async function shows(page, kind) {
  await page.locator(`#badge[data-kind="${kind}"]`).waitFor();
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
  const answer = page.locator("#answer:has(p)");
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
