// A client of the login server. Its tokens are in cookies, which no script can read, or in this object. They may be
// bound to a key of the browser.

const AUTH = "/api/auth";

export class Client {
  #tokens = null;
  #device = null;
  #remembered = null;
  /** Called after every refresh. */
  renewed = () => {};

  /** @param {"cookie" | "memory" | "bound"} mode */
  constructor(mode, key = null) {
    this.mode = mode;
    this.key = key;
  }

  /** A client with the tokens that this browser has kept, if it keeps them. */
  static async opened(mode, key = null) {
    const client = new Client(mode, key);
    client.#tokens = (await key?.tokens()) ?? null;
    return client;
  }

  /** Can this page read its tokens? */
  get inMemory() {
    return this.mode !== "cookie";
  }

  /** The tokens, in memory only. */
  get tokens() {
    return this.#tokens;
  }

  /** May there be a session? */
  get hasSession() {
    return Boolean(this.inMemory ? this.#tokens : proof());
  }

  /** Sends a request. `bearer` is a token to send instead of the client's own; `null` sends none. */
  async send(method, path, options = {}) {
    const { body, bearer, signal } = options;
    const own = bearer === undefined;
    const token = own ? this.#tokens?.access : bearer;
    const headers = {};
    if (own && this.key) Object.assign(headers, await this.key.headers(method, path, token));
    else if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    if (own && !this.inMemory && proof()) headers["x-csrf-token"] = proof();
    const answer = await fetch(path, {
      method,
      headers,
      signal,
      body: body && JSON.stringify(body),
      // A challenge for a passkey is bound to this browser by a cookie, wherever the tokens are.
      credentials: own && (!this.inMemory || path.startsWith(`${AUTH}/passkeys/`)) ? "same-origin" : "omit",
    });
    // The server demands a nonce, which this answer has.
    const again = own && this.key?.learns(answer);
    return again && !options.repeated ? this.send(method, path, { ...options, repeated: true }) : answer;
  }

  /** Sends a request, and repeats it once with a new access token if the old one has expired. */
  async call(method, path, options = {}) {
    const answer = await this.send(method, path, options);
    if (answer.status !== 401 || options.bearer !== undefined || !this.hasSession) return answer;
    return (await this.refresh()).ok ? this.send(method, path, options) : answer;
  }

  /** Starts a session: `login`, `register` or `guest`. */
  async start(endpoint, body = {}) {
    const device = {
      ...(this.#device && { device_token: this.#device }),
      ...(this.#remembered && { remember_token: this.#remembered }),
    };
    // A guest's token is sent with the login, so that the conversation can be kept.
    return this.#keep(await this.send("POST", this.#path(endpoint), { body: { ...body, ...device } }));
  }

  /** Refreshes: one tab after another where the browser has locks. The server forgives where it has none. */
  async refresh() {
    const once = async () => {
      // Another tab may have refreshed.
      if (this.key) this.#tokens = (await this.key.tokens()) ?? this.#tokens;
      const body = this.inMemory ? { refresh_token: this.#tokens?.refresh } : {};
      const answer = await this.#keep(await this.send("POST", this.#path("refresh"), { body }));
      // Only this error means that the session is over. Everything else passes.
      if (answer.json?.error === "invalid_grant") await this.forget();
      return answer;
    };
    const lock = this.mode === "memory" ? `refresh ${this.#tokens?.refresh}` : "refresh";
    const answer = await (navigator.locks ? navigator.locks.request(lock, once) : once());
    if (answer.ok) this.renewed();
    return answer;
  }

  /** Raises the session by a code. It gets new tokens, and the session before is over. */
  async raise(code) {
    return this.#keep(await this.call("POST", `${AUTH}/step-up`, { body: { code } }));
  }

  /** Ends this session (`device`), the others of this user (`others`), or all. */
  async logout(scope = "device") {
    const answer = await this.call("POST", `${AUTH}/logout`, { body: { scope } });
    if (scope !== "others" && answer.ok) await this.forget();
    return answer;
  }

  /** Forgets the tokens. */
  async forget() {
    this.#tokens = null;
    await this.key?.save(null);
  }

  #path(endpoint) {
    return `${AUTH}/${endpoint}${this.inMemory ? "" : "?transport=cookie"}`;
  }

  async #keep(response) {
    const json = await response.json().catch(() => null);
    if (response.ok && json?.access_token) {
      this.#tokens = { access: json.access_token, refresh: json.refresh_token };
      this.#device = json.device_token ?? this.#device;
      this.#remembered = json.remember_token ?? this.#remembered;
      await this.key?.save(this.#tokens);
    }
    return { ok: response.ok, status: response.status, headers: response.headers, json };
  }
}

/** The proof of the session, in the one cookie that a script can read. */
export function proof() {
  const pairs = document.cookie.split("; ").map((pair) => pair.split("="));
  return pairs.find(([name]) => /^(__Host-)?(.*-)?csrf$/.test(name))?.[1] ?? "";
}

/** The parts of a token, not verified: that is for the server to do. */
export function decoded(token) {
  const part = (text) => {
    const bytes = Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  };
  const [header, claims] = token.split(".");
  return { header: part(header), claims: part(claims) };
}

export function encoded(value) {
  const bytes = new TextEncoder().encode(JSON.stringify(value));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
