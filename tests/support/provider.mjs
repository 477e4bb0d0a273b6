// An authorization server (the npm package `oidc-provider`), and a browser without pages that signs in at it.

import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";

import { expect, load, post } from "./script.mjs";

const { default: Provider } = await load("oidc-provider");
// It prints advice for production.
console.info = console.warn = () => {};

/** A page of a client, which nobody opens. */
export const CALLBACK = "http://127.0.0.1/callback";

/** A client without a secret, in which users sign in. */
export const publicClient = (client_id, more = {}) => ({
  client_id,
  application_type: "native",
  redirect_uris: [CALLBACK],
  grant_types: ["authorization_code"],
  response_types: ["code"],
  token_endpoint_auth_method: "none",
  ...more,
});

/** A client that gets tokens for itself. */
export const machine = (client_id, client_secret, more = {}) => ({
  client_id,
  client_secret,
  redirect_uris: [],
  grant_types: ["client_credentials"],
  response_types: [],
  ...more,
});

/** The `Authorization` of a client (RFC 6749 §2.3.1). */
export function basic(client, secret) {
  const pair = [client, secret].map(encodeURIComponent).join(":");
  return `Basic ${Buffer.from(pair).toString("base64")}`;
}

/** Access tokens for the resource that a client names (RFC 8707): signed by this algorithm, or opaque. */
export const accessToken = (audience, scope, alg) => ({
  audience,
  scope,
  ...(alg ? { accessTokenFormat: "jwt", jwt: { sign: { alg } } } : { accessTokenFormat: "opaque" }),
});

/** Starts it on a port that the system chooses, or on this one. With `account`, the user whom it names for the
 * parameters of a request signs in and consents without a page. */
export async function start(configuration, { port = 0, account = null } = {}) {
  const server = createServer();
  await new Promise((listening) => server.listen(port, "127.0.0.1", listening));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, {
    ...(account && {
      findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id }) }),
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    }),
    ...configuration,
    features: { devInteractions: { enabled: false }, ...configuration.features },
  });
  const answer = provider.callback();
  server.on("request", (request, response) => {
    if (!account || !request.url.startsWith("/interaction/")) return answer(request, response);
    interact(provider, account, request, response).catch((error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  });
  return { issuer, provider, server };
}

async function interact(provider, account, request, response) {
  const { prompt, params, session, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const result = { login: { accountId: account(params) } };
    return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
  }
  const owner = { accountId: session.accountId, clientId: params.client_id };
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant(owner);
  const { missingOIDCScope, missingResourceScopes } = prompt.details;
  if (missingOIDCScope) grant.addOIDCScope(missingOIDCScope.join(" "));
  for (const [resource, scopes] of Object.entries(missingResourceScopes ?? {})) {
    grant.addResourceScope(resource, scopes.join(" "));
  }
  const result = { consent: { grantId: await grant.save() } };
  return provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

/** A browser without pages. It keeps the cookies of each origin. */
export class Browser {
  jars = new Map();

  /** Sends one request, without following a redirect. */
  async send(url, options = {}) {
    const { origin } = new URL(url);
    const jar = this.jars.get(origin) ?? new Map();
    this.jars.set(origin, jar);
    const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join("; ");
    const answer = await fetch(url, { redirect: "manual", ...options, headers: { cookie, ...options.headers } });
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]*)=([^;]*)/.exec(line);
      if (value) jar.set(name, value); else jar.delete(name);
    }
    return answer;
  }

  /** Follows redirects to the callback of a client, and returns its parameters. */
  async toCallback(url) {
    for (let hops = 0; hops < 20; hops += 1) {
      if (String(url).startsWith(CALLBACK)) return new URL(url).searchParams;
      const response = await this.send(url);
      const location = response.headers.get("location");
      expect(location, `${url}: ${response.status} ${await response.text()}`);
      url = new URL(location, url);
    }
    throw new Error(`too many redirects: ${url}`);
  }

  /** Signs in for a public client, with PKCE, and returns the tokens. */
  async signIn(issuer, { client_id, resource, ...more }) {
    const code_verifier = randomBytes(32).toString("base64url");
    const asked = new URLSearchParams({
      client_id,
      redirect_uri: CALLBACK,
      response_type: "code",
      resource,
      code_challenge: createHash("sha256").update(code_verifier).digest("base64url"),
      code_challenge_method: "S256",
      ...more,
    });
    const answer = await this.toCallback(`${issuer}/auth?${asked}`);
    const code = answer.get("code");
    expect(code, `no code: ${answer}`);
    const grant = { grant_type: "authorization_code", client_id, code, redirect_uri: CALLBACK, code_verifier, resource };
    return post(`${issuer}/token`, grant);
  }
}
