//! Commands of an operator for the signing keys in the store, while servers run.

use std::error::Error;

use tower_jwt_auth::{
    AuthSettings,
    server::issue::{KeyState, KeyStatus},
};

/// Runs the command that follows `keys`, and prints the keys.
pub(crate) async fn run(settings: AuthSettings, words: &[&str]) -> Result<(), Box<dyn Error>> {
    if settings.store().is_none() {
        return Err("AUTH_STORE: not set; name the store of the servers".into());
    }
    let store = settings.open_store().await?;
    let Some(ring) = settings.key_ring(&store).await? else {
        return Err("AUTH_SECRET_KEY, AUTH_STORE: the servers keep no signing keys there".into());
    };
    match words {
        [] => {}
        ["rotate"] => ring.rotate().await?,
        ["withdraw", kid] => ring.withdraw(kid).await?,
        _ => return Err(USAGE.into()),
    }
    for key in ring.statuses() {
        println!("{}", line(&key));
    }
    Ok(())
}

fn line(key: &KeyStatus) -> String {
    let state = match key.state() {
        KeyState::Next => "next",
        KeyState::Active => "active",
        _ => "retiring",
    };
    format!("{state} {} {}", key.algorithm(), key.kid().unwrap_or("-"))
}

pub(crate) const USAGE: &str = "usage: auth_server [keys [rotate | withdraw KID]]";
