// A key of this browser that no script can read, the proofs that it signs (DPoP, RFC 9449), and the attack that
// it stops: tokens that were copied to another browser.

const EC = { name: "ECDSA", namedCurve: "P-256" };
const bytes = (value) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));
const text = (buffer) =>
  btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

/** WebCrypto is there for https and for this machine only. */
export const canBind = Boolean(globalThis.crypto?.subtle && globalThis.indexedDB);

/** A key, with what the browser keeps beside it: the tokens that are worth nothing without it. */
export class Key {
  #pair;
  #jwk;
  #nonce = null;
  /** The public URL of the server, which its proofs name. */
  #origin;

  constructor(pair, jwk, origin) {
    this.#pair = pair;
    this.#jwk = jwk;
    this.#origin = origin;
  }

  /** The key that this browser keeps, or a new one. A script can use it, and nothing can copy it. */
  static async kept(origin) {
    let pair = await kept("key");
    if (!pair) {
      pair = await crypto.subtle.generateKey(EC, false, ["sign"]);
      await keep("key", pair);
    }
    return Key.#of(pair, origin);
  }

  /** A key that is gone with the page. */
  static async another(origin) {
    return Key.#of(await crypto.subtle.generateKey(EC, false, ["sign"]), origin);
  }

  static async #of(pair, origin) {
    const { kty, crv, x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
    return new Key(pair, { kty, crv, x, y }, origin);
  }

  /** The headers of a request: the token, if there is one, and the proof for this one request. */
  async headers(method, path, token) {
    const claims = {
      jti: text(crypto.getRandomValues(new Uint8Array(16))),
      htm: method,
      htu: new URL(path, this.#origin).href.replace(/[?#].*/, ""),
      iat: Math.floor(Date.now() / 1000),
      ...(token && { ath: text(await crypto.subtle.digest("SHA-256", bytes(token))) }),
      ...(this.#nonce && { nonce: this.#nonce }),
    };
    const header = { alg: "ES256", typ: "dpop+jwt", jwk: this.#jwk };
    const message = `${text(bytes(header))}.${text(bytes(claims))}`;
    const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, this.#pair.privateKey, bytes(message));
    return { ...(token && { authorization: `DPoP ${token}` }), dpop: `${message}.${text(signature)}` };
  }

  /** Takes the nonce of an answer. Is the request to be repeated with it? */
  learns(answer) {
    const nonce = answer.headers.get("dpop-nonce");
    const isNew = Boolean(nonce) && nonce !== this.#nonce;
    this.#nonce = nonce ?? this.#nonce;
    return isNew && [400, 401].includes(answer.status);
  }

  tokens() {
    return kept("tokens");
  }

  save(tokens) {
    return keep("tokens", tokens);
  }
}

// ---- IndexedDB, which keeps a key without showing it

function opened() {
  return new Promise((done, failed) => {
    const request = indexedDB.open("auth_server", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("bound");
    request.onsuccess = () => done(request.result);
    request.onerror = () => failed(request.error);
  });
}

async function asked(mode, ask) {
  const database = await opened();
  try {
    return await new Promise((done, failed) => {
      const request = ask(database.transaction("bound", mode).objectStore("bound"));
      request.onsuccess = () => done(request.result);
      request.onerror = () => failed(request.error);
    });
  } finally {
    database.close();
  }
}

const kept = async (name) => (await asked("readonly", (store) => store.get(name))) ?? null;
const keep = (name, value) => asked("readwrite", (store) => (value ? store.put(value, name) : store.delete(name)));

// ---- The attack

/** Uses copies of the tokens as another browser would, which has everything but the key. */
export async function elsewhere(page, box) {
  const { client, origin, show, look } = page;
  const { access, refresh } = client.tokens;
  const send = async (method, path, headers, body) => {
    const options = { method, headers, credentials: "omit" };
    if (body) Object.assign(options, { body: JSON.stringify(body) }).headers["content-type"] = "application/json";
    const answer = await fetch(path, options);
    const error = /error="([^"]+)"/.exec(answer.headers.get("www-authenticate") ?? "")?.[1]
      ?? (await answer.json().catch(() => ({}))).error;
    return { refused: !answer.ok, line: `→ ${answer.status}${error ? ` ${error}` : ""}` };
  };
  const thief = await Key.another(origin);
  const seen = client.key && (await client.key.headers("GET", "/api/me", access));
  const own = seen && (await send("GET", "/api/me", { ...seen }));
  const plain = await send("GET", "/api/me", { authorization: `Bearer ${access}` });
  const forged = await send("GET", "/api/me", await thief.headers("GET", "/api/me", access));
  const copied = seen && (await send("GET", "/api/me", { ...seen }));
  const path = "/api/auth/refresh";
  const renewed = seen && (await send("POST", path, await thief.headers("POST", path), { refresh_token: refresh }));
  const answer = await client.call("GET", "/api/me");
  const stopped = answer.ok && [plain, forged, copied, renewed].every((one) => one?.refused);
  show(box, stopped, [
    `The access token alone ${plain.line}`,
    `With a proof by the thief's key ${forged.line}`,
    ...(seen ? [`With a proof that you sent before (${own.line.slice(2)}) ${copied.line}`] : []),
    ...(seen ? [`The refresh token, with the thief's key ${renewed.line}`] : []),
    stopped
      ? `Nothing works there, and your session goes on: /api/me → ${answer.status}`
      : "The tokens work everywhere. Bind them to this browser, and try again.",
  ]);
  await look();
}
