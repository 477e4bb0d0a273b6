const $ = (selector) => document.querySelector(selector);
const proof = () =>
  document.cookie.split("; ").map((pair) => pair.split("="))
    .find(([name]) => name === "__Host-csrf" || name === "csrf")?.[1] ?? "";

function send(method, path, body, accept = "application/json") {
  return fetch(path, {
    method,
    headers: { "content-type": "application/json", "x-csrf-token": proof(), accept },
    body: body && JSON.stringify(body),
  });
}

// An access token lives ten minutes; the session goes on.
async function call(...request) {
  const answer = await send(...request);
  if (answer.status !== 401 || !proof()) return answer;
  const again = () => send("POST", "/api/auth/refresh", {});
  const refreshed = await (navigator.locks?.request("refresh", again) ?? again());
  return refreshed.ok ? send(...request) : answer;
}

function show(from, text, fromGuest) {
  const line = document.createElement("div");
  line.className = `message ${from}`;
  line.textContent = text;
  if (fromGuest) line.append(Object.assign(document.createElement("small"), { textContent: "as a guest" }));
  $("#chat").append(line);
  $("#chat").scrollTop = $("#chat").scrollHeight;
  return line;
}

async function look() {
  let context = await (await call("GET", "/chat/context")).json();
  // The access token may be gone while the session is not.
  if (!context.conversation && proof() && (await send("POST", "/api/auth/refresh", {})).ok) {
    context = await (await call("GET", "/chat/context")).json();
  }
  const user = context.authenticated;
  $("#badge").textContent = user ? context.user_id : context.conversation ? "a guest" : "nobody yet";
  $("#badge").className = user ? "user" : "";
  $("#login").hidden = user;
  $("#login").style.display = user ? "none" : "";
  $("#logout").hidden = !user;
  $("#tasks").hidden = !user;
  if (context.conversation) {
    const history = await (await call("GET", "/chat/messages")).json();
    $("#chat").replaceChildren();
    for (const { from, text, from_guest } of history.messages) show(from, text, user && from_guest);
  } else {
    $("#chat").replaceChildren();
  }
  if (user) await list();
  return context;
}

async function list() {
  const { tasks } = await (await call("GET", "/tasks")).json();
  const items = tasks.map(({ title, done }, index) => {
    const item = Object.assign(document.createElement("li"), { textContent: title + " " });
    item.className = done ? "done" : "";
    if (!done) {
      const button = Object.assign(document.createElement("button"), { textContent: "Done" });
      button.onclick = async () => { await call("POST", `/tasks/${index + 1}/finish`); await list(); };
      item.append(button);
    }
    return item;
  });
  $("#tasks ol").replaceChildren(...items);
}

$("#say").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = event.target.text.value;
  event.target.reset();
  // A guest is made for the first message, not for looking at the page.
  const context = await (await call("GET", "/chat/context")).json();
  if (!context.conversation) await send("POST", "/api/auth/guest?transport=cookie", {});
  show("you", text);
  const line = show("bot", "");
  const answer = await call("POST", "/chat/messages", { text }, "text/event-stream");
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const events = (rest + part.value).split("\n\n");
    rest = events.pop();
    for (const one of events) line.textContent += JSON.parse(one.slice("data: ".length));
    $("#chat").scrollTop = $("#chat").scrollHeight;
  }
  line.dataset.done = "true";
  if (!context.conversation) $("#badge").textContent = "a guest";
  if (context.authenticated) await list();
});

$("#login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { email, password, link } = Object.fromEntries(new FormData(event.target));
  const body = { email, password, link: Boolean(link) };
  const answer = await send("POST", "/api/auth/login?transport=cookie", body);
  $("#note").textContent = answer.ok ? "" : (await answer.json()).error_description;
  if (answer.ok) { event.target.reset(); await look(); }
});

$("#logout").addEventListener("click", async () => {
  await send("POST", "/api/auth/logout", {});
  await look();
});

look();
