const $ = (id) => document.getElementById(id);
// The proof of the session, in the one cookie that pages can read.
const proof = () =>
  document.cookie.split("; ").map((pair) => pair.split("="))
    .find(([name]) => /^(__Host-)?(.*-)?csrf$/.test(name))?.[1] ?? "";

async function call(method, path, body) {
  const response = await fetch(path, {
    method,
    headers: { "content-type": "application/json", "x-csrf-token": proof() },
    body: body && JSON.stringify(body),
  });
  const json = await response.json().catch(() => null);
  const text = json ? JSON.stringify(json, null, 2) : "";
  $("log").textContent = `${method} ${path} → ${response.status}\n${text}`;
  return { status: response.status, json };
}

// Tabs refresh one after another where the browser can; the server forgives where it cannot.
async function refresh() {
  const once = () => call("POST", "/api/auth/refresh", {});
  return navigator.locks ? navigator.locks.request("refresh", once) : once();
}

async function who() {
  let answer = await call("POST", "/api/me");
  if (answer.status === 401 && proof()) {
    if ((await refresh()).status === 200) answer = await call("POST", "/api/me");
  }
  const signedIn = answer.status === 200;
  $("badge").textContent = signedIn ? answer.json.sub : "nobody";
  $("badge").className = signedIn ? "in" : "";
  $("login").hidden = signedIn;
  $("refresh").hidden = $("logout").hidden = !signedIn;
  return answer;
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  const fields = Object.fromEntries(new FormData(event.target));
  const answer = await call("POST", "/api/auth/login?transport=cookie", fields);
  event.target.password.value = "";
  if (answer.status === 200) await who();
});
$("me").addEventListener("click", who);
$("refresh").addEventListener("click", refresh);
$("logout").addEventListener("click", async () => {
  await call("POST", "/api/auth/logout", {});
  await who();
});
if (proof()) who();
