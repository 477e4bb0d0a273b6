import { account } from "/account.js";
import { Client, decoded, encoded } from "/client.js";
import { Key, canBind, elsewhere } from "/dpop.js";
import { passkeys } from "/passkeys.js";

const $ = (selector) => document.querySelector(selector);
const MEANING = {
  alg: "how the token is signed", typ: "an access token, and nothing else (RFC 9068)", kid: "the key that signed it",
  iss: "who issued the token", sub: "you, by an identifier that never changes", aud: "the API that it is for",
  exp: "refused after this time", iat: "when it was issued", nbf: "refused before this time",
  jti: "this one token", sid: "your session; when it ends, its tokens are refused", client_id: "the app that signed in",
  roles: "what guards ask for", scope: "what the app may do", permissions: "single rights",
  auth_time: "when you gave your password", amr: "how you proved who you are (pwd: a password, otp: a code, pop: a passkey)", acr: "how sure that is",
  ep: "your epoch; it is raised when all sessions end", rtg: "the refresh token that came with it",
  cnf: "the key that proves every request with the token (RFC 9449)",
  guest: "nobody has signed in", conv: "the one conversation that it is for",
};
const TIMES = ["exp", "iat", "nbf", "auth_time"];

const MODES = ["cookie", "memory", "bound"];
let client = new Client("cookie");
let demo = { accounts: [], registration: false, grace_seconds: 30 };
let me = { kind: "nobody" };
let life = null;
let watching = null;
let busy = 0;
// The session whose stream of events has ended.
let over = null;
// Settled when the page shows its caller.
let shown = Promise.resolve();

// ---- Small helpers

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function note(text, bad = false) {
  $("#note").textContent = text;
  $("#note").className = bad ? "bad" : "";
}

const failed = (error) => note(`The server did not answer: ${error.message}`, true);
const clock = (date) => date.toLocaleTimeString([], { hour12: false });
const seconds = (count) => new Promise((done) => setTimeout(done, count * 1000));

/** What an answer says: its status, its challenge, its body. */
async function told(answer) {
  const text = await answer.text();
  let body = text;
  try { body = JSON.stringify(JSON.parse(text), null, 2); } catch { /* it is no JSON */ }
  return { status: answer.status, challenge: answer.headers.get("www-authenticate"), body };
}

function show(box, good, lines, body) {
  box.className = `answer ${good ? "good" : "bad"}`;
  box.replaceChildren(...lines.map((line) => element("p", {}, line)));
  if (body) box.append(element("pre", { tabIndex: 0 }, body));
}

/** Marks the document while this goes on. */
async function working(work) {
  busy += 1;
  document.documentElement.dataset.busy = "";
  try {
    return await work();
  } finally {
    busy -= 1;
    if (!busy) {
      delete document.documentElement.dataset.busy;
      follow();
    }
  }
}

/** Changes or shows the caller: one such work after another, so that no late answer covers a newer one. */
function inTurn(work) {
  const done = working(() => shown.then(work));
  shown = done.catch(() => {});
  return done;
}

/** Runs the work of a button, which cannot be pressed again before it is done. It is about the caller that the
 * page shows, and waits until it shows one. */
async function during(button, work) {
  const focused = document.activeElement === button;
  button.disabled = true;
  await working(() => shown.then(work)).catch(failed);
  button.disabled = false;
  if (focused) button.focus();
  // What had the focus may be gone.
  if (!document.activeElement?.checkVisibility() || document.activeElement === document.body) {
    $("#main").focus({ preventScroll: true });
  }
}

// ---- Who you are

const page = { $, element, note, during, look, get client() { return client; }, get me() { return me; } };
const { enter, listSessions, showFactors, pending } = account(page);
const { offerPasskeys, showPasskeys } = passkeys({
  $, element, note, during, enter, get client() { return client; }, get pending() { return pending(); },
});

function look() {
  return inTurn(showCaller);
}

async function showCaller() {
  let context = await (await client.call("GET", "/chat/context")).json();
  // A cookie that has expired counts as none: the session may still be there.
  if (!context.conversation && client.hasSession && (await client.refresh()).ok) {
    context = await (await client.call("GET", "/chat/context")).json();
  }
  if (!context.conversation) await client.forget();
  const kind = context.authenticated ? "user" : context.conversation ? "guest" : "nobody";
  const user = kind === "user" ? await (await client.call("GET", "/api/me")).json() : null;
  const changed = context.session_id !== me.session;
  me = { kind, session: context.session_id, subject: user?.sub, name: user?.sub, claims: user?.claims, expires: context.expires_at };
  if (changed) clear();
  $("#badge").textContent = kind === "user" ? me.name : kind === "guest" ? "a guest" : "nobody";
  $("#badge").title = me.name ?? "";
  $("#badge").dataset.kind = kind;
  $("#logout").hidden = kind === "nobody";
  $("#outside").hidden = kind === "user";
  $("#inside").hidden = kind !== "user";
  $("#keep").hidden = kind !== "guest";
  if (changed && kind !== "nobody") $("#events").replaceChildren();
  showToken();
  allow();
  if (kind === "user") await listSessions();
  if (kind === "user") await showFactors();
  if (kind === "user") await showPasskeys();
  if (changed) {
    await showConversation();
    hangUp();
    watch();
  }
}

/** Removes what belongs to the session before this one: the next user of this page may be another person. */
function clear() {
  for (const one of document.querySelectorAll("[data-of-session]")) one.replaceChildren();
  for (const one of ["#enrolment", "#recovery"]) $(one).hidden = true;
  for (const one of document.querySelectorAll("#inside form")) one.reset();
}

function allow() {
  const able = me.kind === "user" && client.inMemory;
  for (const button of document.querySelectorAll("[data-attack]")) {
    // The others need tokens that work without a key.
    button.disabled = !able || (client.key && button.dataset.attack !== "elsewhere");
  }
  $("#attacks-need").hidden = able;
  for (const option of document.querySelectorAll("#api option.demo")) option.remove();
  for (const { email, roles } of demo.accounts) {
    const text = `the demo ${roles.join(" and ")}`;
    $("#api [name=caller]").append(element("option", { value: email, className: "demo" }, text));
  }
}

function showToken() {
  const token = client.tokens?.access;
  const parts = token ? decoded(token) : { header: {}, claims: me.claims ?? { exp: me.expires } };
  const there = me.kind !== "nobody";
  $("#token-none").hidden = there;
  $("#token").hidden = !there;
  $("#life").hidden = !there;
  if (!there) { life = null; return; }
  $("#raw-box").hidden = !token;
  $("#raw").replaceChildren(...(token ?? "").split(".").flatMap((part, index) =>
    [...(index ? ["."] : []), element("span", {}, part)]));
  $("#token-from").textContent = token
    ? "Read from the token itself, which this page holds."
    : me.claims ? "From /api/me. The token is in a cookie that this page cannot read." : "The token is in a cookie that this page cannot read.";
  const order = Object.keys(MEANING);
  const place = (name) => order.indexOf(name) + 1 || order.length + 1;
  const rows = Object.entries({ ...parts.header, ...parts.claims }).filter(([, value]) => value != null)
    .sort(([one], [other]) => place(one) - place(other));
  $("#claims").replaceChildren(...rows.map(([name, value]) => {
    const time = TIMES.includes(name) && clock(new Date(value * 1000));
    const shown = time ? `${value}, at ${time}` : typeof value === "string" ? value : JSON.stringify(value);
    const meaning = element("small", {}, MEANING[name] ?? "a claim of this application");
    return element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, shown, meaning));
  }));
  const { exp, iat } = parts.claims;
  life = { ends: exp, whole: Math.max(exp - (iat ?? exp - 600), 1) };
  tick();
}

function tick() {
  if (!life) return;
  const left = Math.max(0, Math.round(life.ends - Date.now() / 1000));
  $("#left").value = left / life.whole;
  $("#left-text").textContent = left ? `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} left` : "expired";
}
setInterval(tick, 1000);

$("#logout").addEventListener("click", (event) => during(event.target, async () => {
  await client.logout();
  await look();
  note("Signed out. The session is over, and its tokens are refused.");
}));
$("#refresh").addEventListener("click", (event) => during(event.target, async () => {
  const answer = await client.refresh();
  await look();
  note(answer.ok ? "A new access token." : "The session is over.", !answer.ok);
}));
for (const radio of document.querySelectorAll("[name=mode]")) {
  radio.addEventListener("change", () => inTurn(async () => {
    // What is only in memory would be lost, and its session left open.
    if (client.inMemory && client.hasSession) await client.logout();
    history.replaceState(null, "", radio.value === "cookie" ? location.pathname : `#${radio.value}`);
    client = await opened(radio.value);
    await showCaller();
    note("");
  }).catch(failed));
}

async function opened(mode) {
  return connected(await Client.opened(mode, mode === "bound" ? await Key.kept(demo.dpop) : null));
}

function connected(made) {
  // The socket lives on with the session's next token.
  made.renewed = () => {
    if (socket?.readyState === WebSocket.OPEN && made.tokens) {
      socket.send(JSON.stringify({ type: "auth", token: made.tokens.access }));
    }
  };
  return made;
}

// ---- The API

$("#api").addEventListener("submit", (event) => {
  event.preventDefault();
  during(event.submitter ?? $("#api button"), async () => {
    const { route, caller } = Object.fromEntries(new FormData(event.target));
    const [method, path] = route.split(" ");
    let answer;
    if (caller === "me") {
      answer = await told(await client.call(method, path));
    } else if (caller === "nobody") {
      answer = await told(await client.send(method, path, { bearer: null }));
    } else {
      const other = new Client("memory");
      await other.start("login", demo.accounts.find(({ email }) => email === caller));
      answer = await told(await other.send(method, path));
      await other.logout();
    }
    const lines = [`${route} → ${answer.status}`];
    if (answer.challenge) lines.push(`WWW-Authenticate: ${answer.challenge}`);
    show($("#answer"), answer.status < 400, lines, answer.body);
  });
});

// ---- Attacks

const attempt = async (path, bearer) => {
  const { status, challenge, body } = await told(await client.send("GET", path, { bearer }));
  const error = /error="([^"]+)"/.exec(challenge ?? "")?.[1];
  return { refused: status >= 400, line: `GET ${path} → ${status}${error ? ` ${error}` : ""}`, body };
};
const spend = async (refresh_token) => {
  const answer = await client.send("POST", "/api/auth/refresh", { body: { refresh_token }, bearer: null });
  return { status: answer.status, json: await answer.json() };
};

const attacks = {
  elsewhere: (box) => elsewhere({ client, origin: demo.dpop, show, look }, box),
  async replay(box) {
    const { access, refresh: stolen } = client.tokens;
    const pause = demo.grace_seconds + 1;
    const left = element("progress", { max: pause, value: 0, ariaLabel: "The time until the thief comes" });
    show(box, true, [`You refresh. The thief comes in ${pause} s.`]);
    box.append(left);
    // Within the grace window of an earlier refresh, the token stays the same.
    while ((await client.refresh()).ok && client.tokens.refresh === stolen) await seconds(1);
    for (; left.value < pause; left.value += 1) await seconds(1);
    const seen = new Promise((found) => { attacks.found = found; });
    const thief = await spend(stolen);
    const event = await Promise.race([seen, seconds(20)]);
    const after = await attempt("/api/me", client.tokens?.access ?? access);
    const caught = thief.status === 400 && Boolean(event) && after.refused;
    show(box, caught, [
      `The thief's refresh → ${thief.status} ${thief.json.error ?? ""}`,
      event ? `The server found it: ${event.name}, ${event.detail}` : "The server reported nothing.",
      `The session is over, for the thief and for you: ${after.line}`,
    ]);
    await look();
    note(caught ? "A reused refresh token was found. Its session is over." : "The attack was not found.", true);
  },
  async tabs(box) {
    const { refresh } = client.tokens;
    const answers = await Promise.all(Array.from({ length: 5 }, () => spend(refresh)));
    const successors = new Set(answers.map(({ json }) => json.refresh_token).filter(Boolean));
    const next = await client.refresh();
    show(box, answers.every(({ status }) => status === 200) && successors.size === 1 && next.ok, [
      `Five refreshes → ${answers.map(({ status }) => status).join(", ")}`,
      `${successors.size} successor of the token: every tab got the same one.`,
      next.ok ? "The session goes on." : "The session is over.",
    ]);
    await look();
  },
  async forge(box) {
    const [header, , signature] = client.tokens.access.split(".");
    const { claims } = decoded(client.tokens.access);
    const forged = [header, encoded({ ...claims, roles: ["admin"] }), signature].join(".");
    const unsigned = [encoded({ alg: "none", typ: "at+jwt" }), encoded({ ...claims, roles: ["admin"] }), ""].join(".");
    const results = [await attempt("/api/admin/users", forged), await attempt("/api/admin/users", unsigned)];
    show(box, results.every(({ refused }) => refused), [
      `With the old signature: ${results[0].line}`,
      `With "alg": "none" and no signature: ${results[1].line}`,
    ]);
  },
  async audience(box) {
    const answer = await client.call("POST", "/demo/other-audience");
    const { access_token } = await answer.json();
    const { aud } = decoded(access_token).claims;
    const result = await attempt("/api/me", access_token);
    show(box, result.refused, [`A token with "aud": ${JSON.stringify(aud)}`, result.line]);
  },
};

for (const button of document.querySelectorAll("[data-attack]")) {
  button.addEventListener("click", async () => {
    await during(button, () => attacks[button.dataset.attack](button.nextElementSibling));
    allow();
  });
}

// ---- Events

async function watch() {
  watching?.abort();
  watching = null;
  if (me.kind === "nobody" || document.hidden) return pill("#live", "off", "off");
  const [stop, session] = [(watching = new AbortController()), me.session];
  try {
    // With `EventSource` no header could be sent.
    const answer = await client.call("GET", "/api/events", { signal: stop.signal });
    if (!answer.ok) return pill("#live", "off", "off");
    pill("#live", "on", "live");
    let rest = "";
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const blocks = (rest + part.value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) heard(block, session);
    }
  } catch { /* left, or broken */ }
  if (watching === stop) {
    pill("#live", "off", "off");
    watching = null;
  }
}

function heard(block, session) {
  const field = (name) => new RegExp(`^${name}: ?(.*)$`, "m").exec(block)?.[1];
  const name = field("event");
  // A comment, which keeps the connection open.
  if (!name) return;
  const detail = field("data");
  if (name === "session.reuse_detected") attacks.found?.({ name, detail });
  const item = element("li", {}, element("time", {}, clock(new Date())), element("strong", {}, name === "end" ? "the stream ended" : name), detail ?? "");
  $("#events").prepend(item);
  while ($("#events").children.length > 50) $("#events").lastChild.remove();
  if (name === "end") {
    over = session;
    if (!busy) follow();
  }
}

/** Shows the end of a session that was ended from elsewhere. Work that ends it here has shown that already. */
function follow() {
  const isShown = over && over === me.session;
  over = null;
  if (isShown) look().then(() => watching || watch(), failed);
}

function pill(selector, kind, text) {
  $(selector).dataset.kind = kind;
  $(selector).textContent = text;
}

// A browser opens six connections to a server, for all tabs: a hidden one keeps none.
document.addEventListener("visibilitychange", () => {
  if (document.hidden || !watching) watch();
});

// ---- Chat

let socket = null;

function line(from, text, fromGuest) {
  const shown = element("div", { className: `message ${from}` }, text);
  if (fromGuest && me.kind === "user") shown.append(element("small", {}, "as a guest"));
  $("#chat").append(shown);
  $("#chat").scrollTop = $("#chat").scrollHeight;
}

async function showConversation() {
  $("#chat").replaceChildren();
  if (me.kind === "nobody") return;
  const { messages } = await (await client.call("GET", "/chat/messages")).json();
  for (const { from, text, from_guest } of messages) line(from, text, from_guest);
}

/** A socket, which has the cookie or brings the token as a subprotocol. It ends with the session. */
async function socketOf(session) {
  if (socket?.readyState === WebSocket.OPEN) return socket;
  // A handshake cannot be repeated after a 401, so the token has to be fresh.
  await client.call("GET", "/chat/context");
  const protocols = client.inMemory ? ["bearer", client.tokens.access] : [];
  const made = (socket = new WebSocket(`${location.origin.replace("http", "ws")}/chat/ws`, protocols));
  made.addEventListener("message", ({ data }) => line("bot", JSON.parse(data).reply, me.kind === "guest"));
  made.addEventListener("close", ({ code, reason }) => {
    if (socket === made) pill("#socket", "off", reason ? `closed: ${code} ${reason}` : "no socket");
  });
  await new Promise((done, failed) => {
    made.addEventListener("open", done);
    made.addEventListener("error", () => failed(new Error("no socket")));
  });
  pill("#socket", "on", "socket open");
  return made;
}

function hangUp() {
  // The server closes the socket of a session that has ended, and says why.
  if (me.kind === "nobody" || !socket) return;
  socket.close();
  socket = null;
  pill("#socket", "off", "no socket");
}

$("#say").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = event.target.text.value;
  event.target.reset();
  during(event.submitter ?? $("#say button"), async () => {
    // A guest is made for the first message, not for looking at the page.
    if (me.kind === "nobody") {
      const answer = await client.start("guest");
      if (!answer.ok) return note(answer.json?.error_description ?? `Status ${answer.status}`, true);
      await look();
    }
    // A browser adds no proof to the handshake of a socket.
    if (client.key) {
      line("you", text, false);
      const answer = await client.call("POST", "/chat/messages", { body: { text } });
      return line("bot", (await answer.json()).reply, me.kind === "guest");
    }
    const open = await socketOf(me.session);
    line("you", text, false);
    open.send(JSON.stringify({ text }));
  }).then(() => event.target.text.focus());
});

// ---- Begin

async function begin() {
  demo = await (await fetch("/demo")).json();
  const binds = canBind && demo.dpop;
  const mode = location.hash.slice(1);
  $("#bind").hidden = !binds;
  client = await opened(MODES.includes(mode) && (binds || mode !== "bound") ? mode : "cookie");
  $(`[name=mode][value=${client.mode}]`).checked = true;
  $("#register").hidden = !demo.registration;
  offerPasskeys(demo.passkeys);
  $("#grace").textContent = `more than ${demo.grace_seconds} s later`;
  $("#demo").hidden = !demo.accounts.length;
  $("#demo").replaceChildren(...demo.accounts.map(({ email, password, roles }) => {
    const button = element("button", { type: "button" }, `Sign in as the demo ${roles.join(" and ")}`);
    button.addEventListener("click", () => during(button, () => enter("login", { email, password })));
    return button;
  }));
  await showCaller();
}
inTurn(begin).catch(failed);
