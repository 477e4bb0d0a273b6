// What tower-jwt-auth minted, and a change of it.

import { readFileSync } from "node:fs";

/** Reads one JSON document from standard input: {"jwks": {public keys}, "secret": for HMAC, "tokens": [{"alg", "token"}]} */
export const read = () => JSON.parse(readFileSync(0, "utf8"));

/** Fails if a token is accepted whose signature was changed, in the first character, in which every bit counts. */
export async function refusesForged(alg, token, verify) {
  const at = token.lastIndexOf(".") + 1;
  const forged = token.slice(0, at) + (token[at] === "A" ? "B" : "A") + token.slice(at + 1);
  const accepted = await verify(alg, forged).then(() => true, () => false);
  if (accepted) throw new Error(`${alg}: a forged token was accepted`);
}
