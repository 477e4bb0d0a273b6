// What the scripts of the tests share.

import { createRequire } from "node:module";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";

export { pause };

// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
export const require = createRequire(import.meta.url);
export const load = (name) => import(pathToFileURL(require.resolve(name)).href);

export function expect(condition, problem) {
  if (!condition) throw new Error(problem);
}

/** Did a server refuse a request because the machine was too busy to serve it within a second? It may be repeated. */
export const isBusy = (response, begun) => response?.status === 503 && Date.now() - begun > 1000;

/** Asks again until it holds. The bound only keeps a broken test from hanging. */
export async function until(what, holds) {
  for (const since = Date.now(); !(await holds()); await pause(20)) {
    expect(Date.now() - since < 60_000, `never: ${what}`);
  }
}

/** Waits until a server takes requests, and answers this one with a status that is good. */
export async function isUp(url, isGood = (status) => status === 200) {
  await until(`${url} is up`, () => fetch(url).then(({ status }) => isGood(status), () => false));
}

/** Sends a form, and returns the JSON of a good answer. */
export async function post(url, form, headers = {}) {
  const response = await fetch(url, { method: "POST", headers, body: new URLSearchParams(form) });
  const text = await response.text();
  expect(response.ok, `${url}: ${response.status} ${text}`);
  return text === "" ? {} : JSON.parse(text);
}

/** The claims of a JWT, which nobody verifies here. */
export const claimsOf = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));
