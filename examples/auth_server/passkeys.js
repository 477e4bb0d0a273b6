// Passkeys: adding, listing and removing them, and signing in with one.

import { ago } from "/account.js";

/** Wires the buttons. `page` has the helpers, the client, the caller of this moment, and the sign-in. */
export function passkeys(page) {
  const { $, element, note, during } = page;
  let isOffered = false;

  /** The answer of the authenticator as a text, or nothing if its user refuses. */
  async function ask(act, path) {
    const answer = await page.client.call("POST", `/api/auth/${path}`);
    const json = await answer.json();
    if (!answer.ok) return note(json.error_description ?? `Status ${answer.status}`, true);
    try {
      const publicKey = act === "create"
        ? PublicKeyCredential.parseCreationOptionsFromJSON(json.publicKey)
        : PublicKeyCredential.parseRequestOptionsFromJSON(json.publicKey);
      return JSON.stringify((await navigator.credentials[act]({ publicKey })).toJSON());
    } catch (error) {
      note(error.name === "InvalidStateError" ? "This authenticator has a passkey of yours already." : "No passkey was used.", true);
    }
  }

  /** Signs in, or completes a sign-in that waits for its second step. */
  async function signIn(mfa_token) {
    const credential = await ask("get", "passkeys/options");
    if (credential) await page.enter("passkeys/sign-in", { credential, ...(mfa_token && { mfa_token }) });
  }

  async function add(label) {
    const credential = await ask("create", "passkeys/register/options");
    if (!credential) return;
    const answer = await page.client.call("POST", "/api/auth/passkeys/register", { body: { credential, label } });
    if (!answer.ok) return note((await answer.json()).error_description, true);
    await showPasskeys();
    note("The passkey signs you in from now on.");
  }

  async function remove(id) {
    const answer = await page.client.call("POST", "/api/auth/passkeys/remove", { body: { id } });
    if (!answer.ok) return note((await answer.json()).error_description, true);
    await showPasskeys();
    note("The passkey is removed.");
  }

  async function showPasskeys() {
    if (!isOffered) return;
    const answer = await page.client.call("GET", "/api/auth/passkeys");
    if (!answer.ok) return;
    const list = (await answer.json()).passkeys;
    $("#passkeys-about").textContent = list.length
      ? "A passkey signs you in alone. After the password it is the second factor."
      : "There is none. A passkey signs you in without the password.";
    $("#passkey-list").replaceChildren(...list.map(({ id, label, created_at, used_at }) => {
      const name = label || "A passkey";
      const used = used_at ? `last used ${ago(used_at)}` : "never used";
      const about = element("div", {}, name, element("small", {}, `added ${ago(created_at)}, ${used}`));
      const button = element("button", { className: "quiet", ariaLabel: `Remove the passkey: ${name}` }, "Remove");
      button.addEventListener("click", () => during(button, () => remove(id)));
      return element("li", {}, about, button);
    }));
  }

  /** Shows the buttons if this page is at the origin to which the server's passkeys belong. */
  function offerPasskeys(origin) {
    isOffered = origin === location.origin && "PublicKeyCredential" in window;
    for (const one of ["#passkeys", "#with-passkey"]) $(one).hidden = !isOffered;
    $("#passkeys-at").hidden = !origin || isOffered;
    $("#passkeys-at a").href = origin ?? "/";
    $("#passkeys-at a").textContent = origin;
  }

  $("#with-passkey").addEventListener("click", (event) => during(event.target, () => signIn()));
  $("#use-passkey").addEventListener("click", (event) => during(event.target, () => signIn(page.pending)));
  $("#add-passkey").addEventListener("submit", (event) => {
    event.preventDefault();
    const { label } = Object.fromEntries(new FormData(event.target));
    during(event.submitter ?? $("#add-passkey button"), () => add(label)).then(() => event.target.reset());
  });

  return { offerPasskeys, showPasskeys };
}
