// The npm package `oidc-provider` issues a token that is bound to a certificate (RFC 8705 §3).
//
//   node certificates.mjs CERTIFICATE.pem RESOURCE
//
// It prints the issuer, its key set and the token as JSON.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

// The provider prints advice for production.
console.info = console.warn = () => {};
// An `import` of a bare name does not look into NODE_PATH; `require.resolve` does.
const require = createRequire(import.meta.url);
const load = (name) => import(pathToFileURL(require.resolve(name)).href);
const { default: Provider } = await load("oidc-provider");

const [path, audience] = process.argv.slice(2);
const certificate = new X509Certificate(readFileSync(path));

const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "machine",
      client_secret: "a secret of the machine, for this test",
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
      tls_client_certificate_bound_access_tokens: true,
    },
  ],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // The provider is asked over plain HTTP, as behind a proxy.
    mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate: () => certificate },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => ({
        audience,
        scope: "read",
        accessTokenFormat: "jwt",
        jwt: { sign: { alg: "RS256" } },
      }),
    },
  },
});
server.on("request", provider.callback());

async function json(response) {
  const body = await response.text();
  if (!response.ok) throw new Error(`${response.status}: ${body}`);
  return JSON.parse(body);
}

const credentials = Buffer.from(`machine:${encodeURIComponent("a secret of the machine, for this test")}`);
const answer = await json(
  await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${credentials.toString("base64")}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource: audience, scope: "read" }),
  }),
);
const jwks = await json(await fetch(`${issuer}/jwks`));
console.log(JSON.stringify({ issuer, jwks, token: answer.access_token, type: answer.token_type }));
server.close();
server.closeAllConnections();
