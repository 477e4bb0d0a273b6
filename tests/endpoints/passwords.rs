//! Hashes that are replaced under a login.

use futures_util::future::join_all;
use serde_json::json;
use tower_jwt_auth::login::{
    Argon2Cost, Identifier, NewUser, Password, PasswordHash, PasswordHasher, UserStore,
};

use crate::support::{PASSWORD, Server};

/// By another cost than the server's.
async fn outdated() -> PasswordHash {
    let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
    let hasher = PasswordHasher::builder().cost(cost).build().unwrap();
    let password = Password::new(PASSWORD.to_owned()).unwrap();
    hasher.hash(&password).await.unwrap()
}

/// The users here know no epoch, so that each login is looked at twice, and the hash is another one
/// the second time.
#[tokio::test]
async fn u6_a_right_password_gets_in_while_its_hash_is_replaced_alone_and_eight_at_once() {
    let server = Server::start().await;
    for (name, count) in [("alone", 1), ("crowd", 8)] {
        let identifier = Identifier::new(name).unwrap();
        let user = NewUser::new(format!("u-{name}"), identifier.clone(), outdated().await);
        assert!(server.users.create(user).await.unwrap());
        let before = hash(&server, &identifier).await;
        let body = json!({ "username": name, "password": PASSWORD });
        let logins = (0..count).map(|_| server.post("login", &body));
        for answer in join_all(logins).await {
            assert_eq!(answer.status, 200, "{name}: {answer:?}");
        }
        let after = hash(&server, &identifier).await;
        assert_ne!(before, after, "it was replaced");
        assert_eq!(server.post("login", &body).await.status, 200, "{name}");
        assert_eq!(hash(&server, &identifier).await, after, "and once");
    }
}

async fn hash(server: &Server, identifier: &Identifier) -> String {
    let user = server.users.find(identifier).await.unwrap().unwrap();
    user.password.unwrap().expose().to_owned()
}
