//! Codes for signing in.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{
    MailFlows, MailRefused,
    flows::preferred,
    letter::{Letter, LetterKind},
};
use crate::{
    event::MailPurpose,
    secret::{Secret, random},
    server::login::{EmailAddress, Limited},
    store::port::{OneTimeDigest, OneTimePurpose, OneTimeToken, SpentOneTime},
};

/// A code of eight digits.
///
/// The store has the digest of the code together with the flow, a secret of 128 bits that only the
/// asking client holds. A code is therefore worth nothing to a client that did not ask for it, and a
/// reader of the store cannot find it by trying all codes.
pub(super) struct SignInCode(Secret<String>);

impl SignInCode {
    /// Creates a code.
    pub(super) fn mint() -> Self {
        // 2^64 is so much larger than 10^8 that all codes are equally likely.
        let number = u64::from_be_bytes(random()) % 100_000_000;
        Self(Secret::new(format!("{number:08}")))
    }

    pub(super) fn text(&self) -> &Secret<String> {
        &self.0
    }

    pub(super) fn digest(&self, flow: &OneTimeToken) -> OneTimeDigest {
        digest(flow.expose(), self.0.expose())
    }
}

fn digest(flow: &str, code: &str) -> OneTimeDigest {
    // A flow has a fixed length.
    let digest = Sha256::new()
        .chain_update(b"sign-in code\0")
        .chain_update(flow)
        .chain_update(code);
    OneTimeDigest::from_bytes(digest.finalize().into())
}

impl MailFlows {
    /// Requests a mail with a code for signing in. Returns the flow, which the client presents together
    /// with the code.
    ///
    /// A code works only in the client that asked for it, so that other clients could use up the limit of an
    /// address and keep its owner out. Above that limit a device on which a user has signed in has one of its own.
    /// The background task sends the mail only if the user is that of the address.
    pub(crate) async fn request_sign_in(
        &self,
        address: &EmailAddress,
        language: Option<&str>,
        device: Option<Secret<String>>,
    ) -> Result<OneTimeToken, MailRefused> {
        let login = &self.inner.login;
        let flow = login.issue_code_flow();
        let letter = |device| Letter {
            kind: LetterKind::SignIn {
                address: address.clone(),
                flow: flow.clone(),
                device,
            },
            locale: language.and_then(preferred),
        };
        let place = self.place(&letter(None))?;
        let counted = login.count_mail(MailPurpose::SignIn, address).await;
        let device = match (counted, device) {
            (Ok(()), _) => None,
            (Err(Limited::Wait(wait)), Some(device)) => {
                let counted = login.count_mail_of_device(MailPurpose::SignIn, device.expose());
                counted.await.unwrap_or(Err(Limited::Wait(wait)))?;
                Some(device)
            }
            (Err(limited), _) => return Err(limited.into()),
        };
        self.put(place, letter(device));
        Ok(flow)
    }

    /// Spends a code. Returns `None` if the code is wrong, spent or expired, belongs to another flow,
    /// or if five wrong codes were presented for the flow.
    pub(crate) async fn redeem_code(
        &self,
        flow: &str,
        code: &str,
    ) -> Result<Option<SpentOneTime>, MailRefused> {
        let login = &self.inner.login;
        let Some(id) = login.read_code_flow(flow) else {
            return Ok(None);
        };
        let attempt = match login.admit_mail_code(id.as_bytes()).await {
            Ok(attempt) => attempt,
            // The flow is over before the wait is.
            Err(Limited::Wait(wait)) if wait > BRIEF => return Ok(None),
            Err(limited) => return Err(limited.into()),
        };
        let spent = match code.len() == DIGITS {
            true => {
                login
                    .redeem_token(&digest(flow, code), OneTimePurpose::SignIn)
                    .await
            }
            false => Ok(None),
        };
        let is_correct = spent.as_ref().ok().map(Option::is_some);
        login.settle_mail_code(attempt, is_correct).await;
        spent.map_err(|_| MailRefused::Busy {
            retry_after: Duration::from_secs(1),
        })
    }

    /// Returns `true` if users can sign in by a code.
    pub(crate) fn signs_in(&self) -> bool {
        self.inner.signs_in
    }

    /// Returns the lifetime of a code.
    pub(crate) fn code_lifetime(&self) -> Duration {
        self.inner.code_lifetime
    }
}

const DIGITS: usize = 8;
/// A wait for concurrent guesses is shorter, and that of a flow without guesses left is longer.
const BRIEF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u27_a_code_has_eight_digits_and_belongs_to_one_flow() {
        let (flow, other) = (OneTimeToken::mint(), OneTimeToken::mint());
        for _ in 0..100 {
            let code = SignInCode::mint();
            let text = code.text().expose();
            assert!(text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()));
            assert_eq!(code.digest(&flow), digest(flow.expose(), text));
            assert_ne!(code.digest(&flow), code.digest(&other));
        }
    }
}
