// A virtual authenticator of Chromium (WebAuthn §11), which says that its user is there and verified.

const options = {
  protocol: "ctap2", transport: "internal", hasResidentKey: true, hasUserVerification: true,
  isUserVerified: true, automaticPresenceSimulation: true,
};

export async function authenticator(browser, page) {
  const cdp = await browser.newCDPSession(page);
  await cdp.send("WebAuthn.enable");
  let authenticatorId = null;
  const device = {
    send: (command, parameters = {}) => cdp.send(`WebAuthn.${command}`, { authenticatorId, ...parameters }),
    credentials: async () => (await device.send("getCredentials")).credentials,
    /** Takes it away, and puts a new one in its place. */
    async replace() {
      if (authenticatorId) await device.send("removeVirtualAuthenticator");
      ({ authenticatorId } = await cdp.send("WebAuthn.addVirtualAuthenticator", { options }));
    },
  };
  await device.replace();
  return device;
}
