// A page for the links in mails. It sends the token when a button is pressed: mail scanners open links.

const PAGES = {
  "/reset-password": { title: "Set a new password", path: "password/reset", done: "The password is set. Sign in with it." },
  "/sign-in": { title: "Sign in", path: "login/code?transport=cookie", done: "You are signed in." },
  "/verify-email": { title: "Confirm your address", path: "email/verify", done: "The address is confirmed." },
  "/change-email": { title: "Confirm your new address", path: "email/confirm", done: "Sign in with the new address." },
};
const page = PAGES[location.pathname];
const secrets = new URLSearchParams(location.hash.slice(1));
const [token, code] = [secrets.get("token"), secrets.get("code")];
// Out of the address bar and the history.
history.replaceState(null, "", location.pathname);

const form = document.querySelector("#use");
const field = form.elements.new_password;
const asks = page.path === "password/reset";
document.querySelector("#title").textContent = page.title;
document.querySelector("#password").hidden = !asks;
field.required = asks;

function note(text, bad) {
  const box = document.querySelector("#note");
  box.textContent = text;
  box.className = bad ? "bad" : "";
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const body = asks ? { token, new_password: field.value } : code ? { code } : { token };
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`/api/auth/${page.path}`, { method: "POST", headers, body: JSON.stringify(body) });
  if (answer.ok) {
    form.hidden = true;
    note(page.done, false);
  } else {
    const { error, error_description } = await answer.json();
    note(error === "invalid_link" ? "The link is not valid any more. Ask for another one." : error_description, true);
  }
});
