// The nonces that a server demands in proofs (RFC 9449 §8), and a client (the npm package `oauth4webapi`) that
// repeats each request which lacks one.

import { expect, isBusy, load } from "./script.mjs";

const oauth = await load("oauth4webapi");

/** Of one client. A nonce ages after so many seconds, and is refused after twice as many. */
export class Nonces {
  demanded = 0;
  #good = Date.now();

  constructor(ages) {
    this.ages = ages;
  }

  async retried(attempt) {
    for (let [tries, repeated] = [0, false]; ; tries += 1) {
      const begun = Date.now();
      try {
        const answer = await attempt();
        this.#good = begun;
        return answer;
      } catch (error) {
        const isNonce = oauth.isDPoPNonceError(error);
        if (isNonce ? repeated : !isBusy(error.cause, begun) || tries > 9) throw error;
        repeated ||= isNonce;
        this.demanded += isNonce;
      }
    }
  }

  /** No nonce is demanded. The one at hand was young when the last request was sent; if the machine was busy since
   * then, it may be too old, and proves nothing. */
  async accepted(what, attempt) {
    const [demanded, good] = [this.demanded, this.#good];
    const answer = await this.retried(attempt);
    expect(this.demanded === demanded || Date.now() - good > this.ages * 1000, what);
    return answer;
  }

  async demands(what, attempt) {
    const { demanded } = this;
    const answer = await this.retried(attempt);
    expect(this.demanded === demanded + 1, what);
    return answer;
  }
}

/** Sends copies of a request, as a log with headers would have them. `original` makes it and returns the copy. */
export async function replayed(original) {
  for (let tries = 0; ; tries += 1) {
    const { url, init } = await original();
    const answer = await fetch(url, init);
    const text = `${answer.headers.get("www-authenticate")} ${await answer.text()}`;
    // On a busy machine its nonce is too old by now.
    if (!text.includes("use_dpop_nonce") || tries === 9) return { status: answer.status, text };
  }
}
