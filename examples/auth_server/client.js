// A client of the login server. Its tokens are in cookies, which no script can read, or in this object.

const AUTH = "/api/auth";

export class Client {
  #tokens = null;
  #device = null;
  #remembered = null;
  /** Called after every refresh. */
  renewed = () => {};

  /** @param {"cookie" | "memory"} mode */
  constructor(mode) {
    this.mode = mode;
  }

  get inMemory() {
    return this.mode === "memory";
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
  async send(method, path, { body, bearer, signal } = {}) {
    const own = bearer === undefined;
    const token = own ? this.#tokens?.access : bearer;
    const headers = {};
    if (token) headers.authorization = `Bearer ${token}`;
    if (body) headers["content-type"] = "application/json";
    if (own && !this.inMemory && proof()) headers["x-csrf-token"] = proof();
    const response = await fetch(path, {
      method,
      headers,
      signal,
      body: body && JSON.stringify(body),
      // A challenge for a passkey is bound to this browser by a cookie, wherever the tokens are.
      credentials: own && (!this.inMemory || path.startsWith(`${AUTH}/passkeys/`)) ? "same-origin" : "omit",
    });
    return response;
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
      const body = this.inMemory ? { refresh_token: this.#tokens?.refresh } : {};
      const answer = await this.#keep(await this.send("POST", this.#path("refresh"), { body }));
      // Only this error means that the session is over. Everything else passes.
      if (answer.json?.error === "invalid_grant") this.#tokens = null;
      return answer;
    };
    const lock = this.inMemory ? `refresh ${this.#tokens?.refresh}` : "refresh";
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
    if (scope !== "others" && answer.ok) this.#tokens = null;
    return answer;
  }

  /** Forgets the tokens. */
  forget() {
    this.#tokens = null;
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
