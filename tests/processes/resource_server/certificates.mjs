// The npm package `oidc-provider` issues a token that is bound to a certificate (RFC 8705 §3).
//
//   node certificates.mjs CERTIFICATE.pem RESOURCE
//
// It prints the issuer, its key set and the token as JSON.

import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";

import { accessToken, basic, machine, start } from "../../support/provider.mjs";
import { post } from "../../support/script.mjs";

const [path, audience] = process.argv.slice(2);
const certificate = new X509Certificate(readFileSync(path));
const [name, secret] = ["machine", "a secret of the machine, for this test"];

const { issuer, server } = await start({
  clients: [machine(name, secret, { tls_client_certificate_bound_access_tokens: true })],
  features: {
    clientCredentials: { enabled: true },
    // The provider is asked over plain HTTP, as behind a proxy.
    mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate: () => certificate },
    resourceIndicators: {
      enabled: true,
      getResourceServerInfo: () => accessToken(audience, "read", "RS256"),
    },
  },
});

const grant = { grant_type: "client_credentials", resource: audience, scope: "read" };
const answer = await post(`${issuer}/token`, grant, { authorization: basic(name, secret) });
const jwks = await (await fetch(`${issuer}/jwks`)).json();
console.log(JSON.stringify({ issuer, jwks, token: answer.access_token, type: answer.token_type }));
server.close();
server.closeAllConnections();
