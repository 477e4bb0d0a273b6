// Signing in, by one or two factors, and what a user changes in the account: sessions and the second factor.

export function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  if (past < 60) return "just now";
  const [count, unit] = past < 3600 ? [past / 60, "minute"] : past < 86400 ? [past / 3600, "hour"] : [past / 86400, "day"];
  return new Intl.RelativeTimeFormat("en").format(-Math.floor(count), unit);
}

function device({ label, user_agent }) {
  const agent = label ?? user_agent ?? "an unknown device";
  const browser = /(Edg|OPR|Firefox|Chrome|Safari)\w*\/\d+/.exec(agent)?.[1];
  const system = /Android|iPhone|iPad|Windows|Mac OS X|Linux/.exec(agent)?.[0];
  const name = { Edg: "Edge", OPR: "Opera" }[browser] ?? browser;
  return name && system ? `${name} on ${system.replace(" OS X", "")}` : agent.slice(0, 60);
}

/** Wires the forms. `page` has the helpers, the client and the caller of this moment. */
export function account(page) {
  const { $, element, note, during } = page;
  // The token of a sign-in that waits for its second step.
  let first = null;

  async function enter(endpoint, body) {
    const link = page.me.kind === "guest" && $("#keep input").checked;
    const answer = await page.client.start(endpoint, link ? { ...body, link } : body);
    if (answer.json?.error === "mfa_required") {
      first = answer.json.mfa_token;
      step(answer.json.mfa_methods);
      return note("The password is right. Another factor is required.");
    }
    if (!answer.ok) {
      // The first step is over.
      if (answer.json?.code === "mfa_token_invalid") step();
      const wait = answer.headers.get("retry-after");
      note(`${answer.json?.error_description ?? `Status ${answer.status}`}${wait ? ` Try again in ${wait} s.` : ""}`, true);
      return;
    }
    $("#login").reset();
    step();
    await page.look();
    note(link ? "Signed in. The conversation is yours." : "Signed in.");
  }

  async function byMail(path, email) {
    const answer = await page.client.call("POST", `/api/auth/${path}`, { body: { email } });
    note(answer.ok ? "If the account exists, the server has printed or sent a link." : "Enter your address first.", !answer.ok);
  }

  $("#login").addEventListener("submit", (event) => {
    event.preventDefault();
    const path = { forgot: "password/forgot", "by-mail": "login/email?transport=cookie" }[event.submitter?.value];
    if (path) return during(event.submitter, () => byMail(path, event.target.email.value));
    const { email, password } = Object.fromEntries(new FormData(event.target));
    during(event.submitter ?? $("#login .main"), () => enter(event.submitter?.value ?? "login", { email, password }));
  });

  /** Shows the form of the second step with these methods, or that of the first one. */
  function step(methods) {
    const byCode = methods?.some((method) => method !== "webauthn");
    $("#login").hidden = Boolean(methods);
    $("#code").hidden = !methods;
    $("#code").reset();
    for (const one of ["#by-code", "#code .main"]) $(one).hidden = !byCode;
    $("#use-passkey").hidden = !methods?.includes("webauthn");
    if (methods) $(byCode ? "#code input" : "#use-passkey").focus();
  }

  $("#code").addEventListener("submit", (event) => {
    event.preventDefault();
    const { code, remember } = Object.fromEntries(new FormData(event.target));
    const body = { mfa_token: first, code, ...(remember && { remember: true }) };
    during(event.submitter ?? $("#code .main"), () => enter("login/continue", body));
  });
  $("#back").addEventListener("click", () => step());

  // ---- Sessions

  async function listSessions() {
    const answer = await page.client.call("GET", "/api/auth/sessions");
    if (!answer.ok) return;
    const { sessions } = await answer.json();
    $("#sessions").replaceChildren(...sessions.map((session) => {
      const about = element("div", {}, device(session), " ",
        ...(session.current ? [element("span", { className: "pill" }, "this one")] : []),
        ...(session.bound ? [element("span", { className: "pill" }, "bound")] : []),
        element("small", {}, `last used ${ago(session.last_used_at)}, began ${ago(session.created_at)}${session.ip ? `, from ${session.ip}` : ""}`));
      const button = element("button", { className: "quiet", ariaLabel: `End the session: ${device(session)}, last used ${ago(session.last_used_at)}` }, "End");
      button.addEventListener("click", () => during(button, async () => {
        await page.client.call("DELETE", `/api/auth/sessions/${session.id}`);
        await page.look();
        note("The session is over.");
      }));
      return element("li", {}, about, button);
    }));
    $("#others").hidden = sessions.length < 2;
  }

  // ---- Second factor

  async function showFactors() {
    const answer = await page.client.call("GET", "/api/auth/totp");
    // A server without a secret has none.
    $("#factors").hidden = !answer.ok;
    if (!answer.ok) return;
    const { totp, recovery_codes } = await answer.json();
    $("#factor").textContent = totp
      ? `Signing in needs a code. ${recovery_codes} recovery codes are left.`
      : "Signing in needs the password only.";
    for (const button of document.querySelectorAll("#prove button")) {
      button.hidden = button.value === "totp" || button.value === "totp/confirm" ? totp : !totp;
      if (button.value === "totp/confirm") button.hidden ||= $("#enrolment").hidden;
    }
    $("#proof-of").hidden = !totp && $("#enrolment").hidden;
  }

  async function prove(path, code) {
    if (path === "step-up") {
      const answer = await page.client.raise(code);
      if (!answer.ok) return note(answer.json?.error_description ?? `Status ${answer.status}`, true);
      await page.look();
      return note("A new session, with both factors. The one before is over.");
    }
    const answer = await page.client.call("POST", `/api/auth/${path}`, { body: path === "totp" ? { account: page.me.name } : { code } });
    const json = answer.status === 204 ? {} : await answer.json();
    if (!answer.ok) return note(json.error_description ?? `Status ${answer.status}`, true);
    $("#enrolment").hidden = path !== "totp";
    $("#recovery").hidden = !json.recovery_codes;
    $("#secret").textContent = json.secret ?? "";
    const picture = json.qr_svg && new DOMParser().parseFromString(json.qr_svg, "image/svg+xml").documentElement;
    $("#picture").replaceChildren(...(picture ? [picture] : []));
    $("#codes").textContent = (json.recovery_codes ?? []).join("\n");
    await listSessions();
    await showFactors();
    note({ totp: "Enter the first code of the app.", "totp/confirm": "Signing in needs a code from now on." }[path] ?? "The second factor is off.");
  }

  $("#prove").addEventListener("submit", (event) => {
    event.preventDefault();
    const { code } = Object.fromEntries(new FormData(event.target));
    const button = event.submitter ?? $("#prove button:not([hidden])");
    during(button, () => prove(button.value, code.trim())).then(() => event.target.reset());
  });

  for (const scope of ["others", "all"]) {
    $(`#${scope}`).addEventListener("click", (event) => during(event.target, async () => {
      await page.client.logout(scope);
      await page.look();
      note(scope === "all" ? "All sessions are over." : "The other sessions are over.");
    }));
  }

  return { enter, listSessions, showFactors, pending: () => first };
}
