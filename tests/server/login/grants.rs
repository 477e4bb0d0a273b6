//! Roles and accounts that change while their sessions live.

use serde_json::Value;
use tower_jwt_auth::{
    key::{Algorithm, SigningKey},
    principal::PrincipalKind,
    server::{
        issue::{KeyRing, TokenIssuer},
        login::{Identifier, PasswordHash, UserClaims},
        session::{SessionClaims, SessionErrorKind, Sessions, StartSession, TokenPair},
    },
    store::{
        MemoryStore,
        port::{NewUser, UserAdmin, UserStore},
    },
};

async fn sessions() -> (MemoryStore, Sessions) {
    let store = MemoryStore::new();
    let ada = Identifier::new("ada").unwrap();
    let user = NewUser::new("user-1", ada, PasswordHash::new("$hash".to_owned()));
    let created = UserStore::create(&store, user.roles(["editor"])).await;
    assert!(created.unwrap());
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa).unwrap()).unwrap();
    let issuer = TokenIssuer::builder(keys)
        .issuer("https://auth.example")
        .audience("api")
        .build()
        .unwrap();
    let sessions = Sessions::builder(issuer, store.clone())
        .secret(tower_jwt_auth::secret::SecretKey::generate())
        .claims_source(UserClaims::new(store.clone()))
        .build()
        .unwrap();
    (store, sessions)
}

fn claims_in(pair: &TokenPair) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let token = pair.access_token().expose();
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn roles_are_those_of_the_user_at_each_refresh() {
    let (store, sessions) = sessions().await;
    // What the login read is not trusted further than the store.
    let claims = SessionClaims::new()
        .roles(["admin"])
        .scope("orders:read")
        .claim("tenant", 7);
    let start = StartSession::new("user-1").claims(claims);
    let mut pair = sessions.start(start).await.unwrap();
    for roles in [vec!["editor"], vec!["admin", "x"], vec![]] {
        let now: Vec<String> = roles.iter().map(ToString::to_string).collect();
        assert!(store.set_roles("user-1", &now).await.unwrap());
        pair = sessions
            .refresh(pair.refresh_token().expose())
            .await
            .unwrap();
        let claims = claims_in(&pair);
        let told = claims
            .get("roles")
            .cloned()
            .unwrap_or(Value::Array(Vec::new()));
        assert_eq!(told, serde_json::json!(roles));
        assert_eq!(
            (&claims["scope"], &claims["tenant"]),
            (&"orders:read".into(), &7.into())
        );
    }
}

#[tokio::test]
async fn a_disabled_user_is_refused_and_goes_on_when_enabled_again() {
    let (store, sessions) = sessions().await;
    let first = sessions.start(StartSession::new("user-1")).await.unwrap();
    assert!(store.set_disabled("user-1", true).await.unwrap());
    for _ in 0..3 {
        let refused = sessions.refresh(first.refresh_token().expose()).await;
        assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Disabled);
    }
    let refused = sessions.start(StartSession::new("user-1")).await;
    assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Disabled);
    // Nothing was used up: the same token still is the live one.
    assert!(store.set_disabled("user-1", false).await.unwrap());
    let second = sessions
        .refresh(first.refresh_token().expose())
        .await
        .unwrap();
    assert_ne!(
        second.refresh_token().expose(),
        first.refresh_token().expose()
    );
}

#[tokio::test]
async fn whoever_is_no_user_gets_nothing_and_guests_keep_theirs() {
    let (_, sessions) = sessions().await;
    let refused = sessions.start(StartSession::new("user-2")).await;
    assert_eq!(refused.unwrap_err().kind(), SessionErrorKind::Disabled);
    let guest = StartSession::new("guest-1").kind(PrincipalKind::Guest);
    let guest = guest.claims(SessionClaims::new().roles(["guest"]));
    let pair = sessions.start(guest).await.unwrap();
    assert_eq!(claims_in(&pair)["roles"], serde_json::json!(["guest"]));
}
