//! Commands of an operator for the signing keys in the store, while servers run.

use std::error::Error;

use tower_jwt_auth::{
    AuthSettings,
    server::issue::{KeyState, KeyStatus},
};

/// A command of an operator.
pub(crate) enum Command<'w> {
    Show,
    Rotate,
    Withdraw(&'w str),
}

impl<'w> Command<'w> {
    /// Returns the command of the words that follow `keys`.
    pub(crate) fn read(words: &[&'w str]) -> Option<Self> {
        match *words {
            [] => Some(Self::Show),
            ["rotate"] => Some(Self::Rotate),
            ["withdraw", kid] => Some(Self::Withdraw(kid)),
            _ => None,
        }
    }

    /// Runs the command, and prints the keys.
    pub(crate) async fn run(self, settings: AuthSettings) -> Result<(), Box<dyn Error>> {
        if settings.store().is_none() {
            return Err("AUTH_STORE: not set; name the store of the servers".into());
        }
        let store = settings.open_store().await?;
        let Some(ring) = settings.key_ring(&store).await? else {
            return Err(
                "AUTH_SECRET_KEY, AUTH_STORE: the servers keep no signing keys there".into(),
            );
        };
        match self {
            Self::Show => {}
            Self::Rotate => ring.rotate().await?,
            Self::Withdraw(kid) => {
                let withdrawn = ring.withdraw(kid).await;
                withdrawn.map_err(|error| format!("keys withdraw {kid:?}: {error}"))?;
            }
        }
        for key in ring.statuses() {
            println!("{}", line(&key));
        }
        Ok(())
    }
}

fn line(key: &KeyStatus) -> String {
    let state = match key.state() {
        KeyState::Next => "next",
        KeyState::Active => "active",
        _ => "retiring",
    };
    format!("{state} {} {}", key.algorithm(), key.kid().unwrap_or("-"))
}

pub(crate) const USAGE: &str = "usage: auth_server [--help | keys [rotate | withdraw KID]]";

pub(crate) const HELP: &str = "
  auth_server                     serves until it is stopped
  auth_server keys                prints the state, algorithm and kid of each signing key in the store
  auth_server keys rotate         publishes the next key now; it signs after an hour
  auth_server keys withdraw KID   removes a compromised key

The settings are environment variables: AUTH_SECRET_KEY, AUTH_STORE and others, which the documentation of
`AuthSettings` lists. Exit code: 0 after the command, 2 with one line on the standard error if it was refused.";
