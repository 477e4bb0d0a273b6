//! What outlives a process, and what two processes on one file share.

use std::path::Path;

use tower_jwt_auth::key::{Algorithm, SigningKey};

use super::client::{SEEDS, USER};
use super::shared::{one_lock_for_both, one_session_on_both};
use crate::support::process::{Folder, Server};

#[tokio::test]
async fn a_refresh_token_outlives_the_process() {
    let folder = Folder::new();
    let store = folder.sqlite();
    let vars = [SEEDS, ("AUTH_STORE", &*store)];
    let first = Server::start(&vars);
    let (tokens, spent, over) = (
        first.login(USER).await,
        first.login(USER).await,
        first.login(USER).await,
    );
    let fresh = first.refresh(&spent).await.tokens();
    assert_eq!(first.logout(&over, "device").await.status, 204);
    assert!(first.stop().contains("AUTH_SECRET_KEY is not set"));

    let second = Server::start(&vars);
    // Signed with a key of the first process's own.
    assert_eq!(second.me(&tokens).await, 401);
    for kept in [&tokens, &fresh] {
        let tokens = second.refresh(kept).await.tokens();
        assert_eq!(second.me(&tokens).await, 200);
    }
    let answer = second.refresh(&over).await;
    assert_eq!(
        (answer.status, &*answer.text("code")),
        (400, "session_revoked")
    );

    // As a crash does; nothing was kept for later.
    let last = second.login(USER).await;
    second.kill();
    let third = Server::start(&vars);
    assert_eq!(third.refresh(&last).await.status, 200);
}

#[tokio::test]
async fn with_keys_of_ones_own_access_tokens_outlive_it_too() {
    let folder = Folder::new();
    let store = folder.sqlite();
    for (name, algorithm) in [
        ("ed25519", Algorithm::EdDsa),
        ("p256", Algorithm::Es256),
        ("rsa2048", Algorithm::Rs256),
    ] {
        let pem = format!("src/test_util/keys/first/{name}.test-only.pkcs8.der");
        let pem = pem_of(&std::fs::read(pem).unwrap());
        assert!(SigningKey::from_pem(&pem).is_ok());
        let key = folder.file("key.pem", &pem);
        let vars = [
            SEEDS,
            ("AUTH_STORE", &*store),
            ("JWT_PRIVATE_KEY_FILE", &*key),
            // Else the issuer is the URL, and with it the port.
            ("JWT_ISSUER", "https://auth.example"),
        ];
        let first = Server::start(&vars);
        let tokens = first.login(USER).await;
        let said = first.stop();
        assert!(!said.contains("JWT_PRIVATE_KEY_FILE"), "{said}");
        let second = Server::start(&vars);
        assert_eq!(second.me(&tokens).await, 200, "{algorithm}");
        let jwks = second.get("/.well-known/jwks.json", None).await.json();
        assert_eq!(jwks["keys"].as_array().unwrap().len(), 1, "{algorithm}");
    }
}

/// A folder that others of the machine can foresee they can make first, and own the users in it.
#[cfg(unix)]
#[test]
fn a_first_trys_database_is_in_a_folder_of_its_own() {
    use std::os::unix::fs::PermissionsExt;

    let folders = [(), ()].map(|()| {
        let server = Server::start(&[]);
        let id = server.id().to_string();
        let said = server.said().to_owned();
        let path = said
            .lines()
            .find_map(|line| line.strip_prefix("AUTH_STORE is not set: the store is sqlite:"));
        let path = Path::new(path.unwrap());
        assert!(path.is_file(), "{path:?}");
        let folder = path.parent().unwrap();
        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{folder:?}: {mode:o}");
        folder.to_str().unwrap().replace(&id, "")
    });
    assert_ne!(folders[0].rsplit('/').next(), folders[1].rsplit('/').next());
}

#[tokio::test]
async fn two_processes_on_one_sqlite_file() {
    let folder = Folder::new();
    let store = folder.sqlite();
    one_session_on_both(&folder, &store).await;
    one_lock_for_both(&folder, &store).await;
}

fn pem_of(der: &[u8]) -> String {
    pem::encode(&pem::Pem::new("PRIVATE KEY", der))
}
