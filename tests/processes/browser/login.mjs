// Signs in on the page of a running auth_server with Chromium, and looks at what the browser keeps and sends.
// Fails on the first thing that is not as it should be.
//
// node login.mjs '{"origin", "name", "password", "pictures", "tls"?: {"to", "key", "cert"}}'
//
// With `tls` it ends TLS itself, on the socket that listens as its standard input, and hands
// everything on to the server's own port.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import { createServer as createTlsServer } from "node:tls";

import { call, forgetsNote, inBrowser, pictures, refuses, says, shows, signIn } from "./chromium.mjs";

const asked = JSON.parse(process.argv[2]);
const { origin, tls } = asked;
const listen = (server, where) =>
  new Promise((done, failed) =>
    server.on("error", failed).listen(where, () => done(server.address().port)));

if (tls) {
  const ended = createTlsServer({ key: readFileSync(tls.key), cert: readFileSync(tls.cert) });
  ended.on("secureConnection", (socket) => {
    const [host, port] = tls.to.split(":");
    const inner = connect(Number(port), host);
    socket.on("error", () => inner.destroy());
    inner.on("error", () => socket.destroy());
    socket.pipe(inner).pipe(socket);
  });
  await listen(ended, { fd: 0 });
}

// A page of somebody else's. On `127.0.0.1` it is of the same site as a server there, on `localhost`
// of another one.
const stranger = createServer((request, response) => {
  response.setHeader("content-type", "text/html");
  response.end("<!doctype html><title>elsewhere</title><form method=post></form>");
});
const strange = await listen(stranger, { port: 0, host: "127.0.0.1" });

let browser;
await inBrowser(async (launched) => {
  browser = launched;
  await run();
}, {
  args: tls ? ["--ignore-certificate-errors"] : [],
  // The script that the test plants.
  expected: /^Failed to load resource|inline script/,
});
console.log("done");
// Sockets that the browser left open.
process.exit(0);

async function run() {
  const page = await opened();
  await shows(page, "nobody");

  await signIn(page, asked.name, "not this one");
  await refuses(page, "Invalid credentials");
  await shows(page, "nobody");
  assert.deepEqual(await names(), []);

  await signIn(page, asked.name, asked.password);
  await shows(page, "user");
  await cookiesAreAsTheyShould(page);
  await runsNothingInline(page);
  await callsTheApi(page);
  await pictures(page, asked.pictures, "signed-in");
  await page.reload();
  await shows(page, "user");

  await withoutProof(page);
  await strangersGetNowhere();
  await shows(page, "user");

  const other = await opened();
  await shows(other, "user");
  await twoTabs(page, other);

  // What ends the session of the other tab is told by its stream.
  await other.locator("#live", { hasText: "live" }).waitFor();
  await page.click("#logout");
  await shows(page, "nobody");
  const device = tls ? "__Host-dvc" : "dvc";
  assert.deepEqual(await names(), [device], "the device stays a trusted one");
  await shows(other, "nobody");
  await other.reload();
  await shows(other, "nobody");
}

async function opened() {
  const page = await browser.newPage();
  await page.goto(origin);
  return page;
}

async function callsTheApi(page) {
  assert.match(await call(page, "GET /api/me"), /→ 200/);
}

/** What somebody got into the page by other means. */
async function runsNothingInline(page) {
  const ran = await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.planted = true";
    document.body.append(script);
    script.remove();
    return Boolean(window.planted);
  });
  assert.equal(ran, false, "a planted script ran");
}

function cookies() {
  return browser.cookies([origin, `${origin}/api/auth/refresh`]);
}

async function names() {
  return (await cookies()).map((cookie) => cookie.name).sort();
}

/** U12, as the browser sees it. */
async function cookiesAreAsTheyShould(page) {
  const secure = Boolean(tls);
  const seen = {};
  for (const { name, value, httpOnly, secure, sameSite, path, domain, expires } of await cookies()) {
    assert.ok(value.length > 20 && expires > Date.now() / 1000, name);
    assert.equal(domain, new URL(origin).hostname, "of this host alone");
    seen[name] = { httpOnly, secure, sameSite, path };
  }
  const at = { httpOnly: true, secure, sameSite: "Lax", path: "/" };
  const rt = { httpOnly: true, secure, sameSite: "Strict", path: "/api/auth" };
  const csrf = { httpOnly: false, secure, sameSite: "Strict", path: "/" };
  const dvc = { httpOnly: true, secure, sameSite: "Strict", path: "/" };
  assert.deepEqual(seen, tls
    ? { "__Host-at": at, "__Secure-rt": rt, "__Host-csrf": csrf, "__Host-dvc": dvc }
    : { at, rt, csrf, dvc });
  // The refresh token goes nowhere but to the endpoints.
  const root = (await browser.cookies(origin)).map((cookie) => cookie.name);
  assert.ok(!root.includes(tls ? "__Secure-rt" : "rt"), root);
  const read = await page.evaluate(() => document.cookie.split("; ").map((one) => one.split("=")[0]));
  assert.deepEqual(read, [tls ? "__Host-csrf" : "csrf"], "what a script can read");
  const kept = await page.evaluate(() => localStorage.length + sessionStorage.length);
  assert.equal(kept, 0);
}

/** The site's own page may call its API, and needs the proof to refresh and to sign out. */
async function withoutProof(page) {
  const bare = (path) => page.evaluate(
    async (path) => (await fetch(path, { method: "POST" })).status, path);
  assert.equal(await bare("/api/me"), 200);
  assert.equal(await bare("/api/auth/refresh"), 403);
  assert.equal(await bare("/api/auth/logout"), 403);
}

async function strangersGetNowhere() {
  const before = await cookies();
  for (const host of ["127.0.0.1", "localhost"]) {
    // A page of the same site has the cookies sent along, and is told 403; without them, it is 401
    // where somebody must be there, and nothing to sign out.
    for (const [path, refusals] of [
      ["/api/me", [403, 401]],
      ["/api/auth/refresh", [403, 400]],
      ["/api/auth/logout", [403, 204]],
    ]) {
      for (const how of [fetched, posted]) {
        const page = await browser.newPage();
        await page.goto(`http://${host}:${strange}/`);
        const status = await how(page, origin + path);
        await page.close();
        assert.ok(refusals.includes(status), `${host} ${how.name} ${path}: ${status}`);
        if (host === new URL(origin).hostname && !tls) assert.equal(status, 403, path);
      }
    }
  }
  const still = (all) => all.map(({ name, value }) => `${name}=${value}`).sort();
  assert.deepEqual(still(await cookies()), still(before), "nothing was refreshed or forgotten");
}

async function fetched(page, url) {
  const answer = page.waitForResponse(url);
  await page.evaluate(
    (url) => fetch(url, { method: "POST", mode: "no-cors", credentials: "include" }), url);
  return (await answer).status();
}

async function posted(page, url) {
  const answer = page.waitForResponse(url);
  const arrived = page.waitForURL(url).catch(() => null);
  await page.evaluate((url) => {
    document.forms[0].action = url;
    document.forms[0].submit();
  }, url);
  const status = (await answer).status();
  // Without content it stays where it is.
  if (status !== 204) await arrived;
  return status;
}

/** A refresh as a page does it that knows nothing of other tabs. */
function refreshed(page) {
  return page.evaluate(async () => {
    const pairs = document.cookie.split("; ").map((pair) => pair.split("="));
    const [, proof] = pairs.find(([name]) => name.endsWith("csrf"));
    const headers = { "x-csrf-token": proof };
    return (await fetch("/api/auth/refresh", { method: "POST", headers })).status;
  });
}

async function twoTabs(one, two) {
  const both = (act) => Promise.all([act(one), act(two)]);
  for (let round = 0; round < 5; round += 1) {
    assert.deepEqual(await both(refreshed), [200, 200]);
    await both(callsTheApi);
    // As the page does it, one after the other.
    await both(async (page) => {
      await page.click("#refresh");
      await says(page, "A new access token.");
      await forgetsNote(page);
    });
  }
  // Both find their access token expired.
  await browser.clearCookies({ name: tls ? "__Host-at" : "at" });
  await both(callsTheApi);
  await both((page) => shows(page, "user"));
}
