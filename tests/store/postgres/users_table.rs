//! An existing users table, wired as the example `users_table` shows.

use axum::{Router, body::Body};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use sqlx::PgPool;
use tower::ServiceExt;
use tower_jwt_auth::AuthSettings;

use super::Nodes;

#[expect(dead_code, reason = "its `main` is not called")]
#[path = "../../../examples/users_table.rs"]
mod example;

const TABLE: &str = r#"
    CREATE TABLE accounts (
        id uuid PRIMARY KEY, password_hash text, email text COLLATE "C" UNIQUE NOT NULL,
        roles text[] NOT NULL, blocked boolean NOT NULL);
    CREATE INDEX ON accounts ((id::text));
    -- Openwall's crypt_blowfish, wrapper.c: the password is `U*U`.
    INSERT INTO accounts VALUES ('6f2c8a4e-1d3b-4c5a-9e7f-0a1b2c3d4e5f',
        '$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW',
        'ada@example.org', '{admin,editor}', false);
"#;
const ADA: &str = "6f2c8a4e-1d3b-4c5a-9e7f-0a1b2c3d4e5f";

async fn send(app: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let answer = app.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap();
    (status, body.to_bytes().to_vec())
}

async fn post(app: &Router, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string())).unwrap();
    let (status, body) = send(app, request).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

/// The claims of a token.
fn claims(tokens: &Value) -> Value {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

    let payload = tokens["access_token"].as_str().unwrap().split('.').nth(1);
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload.unwrap()).unwrap()).unwrap()
}

async fn change(pool: &PgPool, change: &'static str) {
    sqlx::raw_sql(change).execute(pool).await.unwrap();
}

#[tokio::test]
async fn u6_u17_an_existing_users_table_is_one_trait() {
    let nodes = Nodes::alone().await;
    let pool = nodes.pool.clone();
    change(&pool, TABLE).await;
    let app = example::app(pool.clone(), AuthSettings::from_vars([]).unwrap());
    let app = app.await.unwrap();
    let login = |password: &str| json!({ "email": " Ada@Example.org", "password": password });

    let (status, _) = post(&app, "/api/auth/login", &login("U*V")).await;
    assert_eq!(status, 401);
    let (status, tokens) = post(&app, "/api/auth/login", &login("U*U")).await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(claims(&tokens)["sub"], ADA);
    assert_eq!(claims(&tokens)["roles"], json!(["admin", "editor"]));
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let me = Request::get("/me").header("authorization", bearer);
    let (status, body) = send(&app, me.body(Body::empty()).unwrap()).await;
    assert_eq!((status, &*body), (StatusCode::OK, ADA.as_bytes()));

    // The login replaced the hash, and the password still works.
    let hash: String = sqlx::query_scalar("SELECT password_hash FROM accounts")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert!(hash.starts_with("$argon2id$"), "{hash}");
    let (status, _) = post(&app, "/api/auth/login", &login("U*U")).await;
    assert_eq!(status, 200);

    // Roles come from the table at every refresh, and so does a block.
    change(&pool, "UPDATE accounts SET roles = '{editor}'").await;
    let refresh = |tokens: &Value| json!({ "refresh_token": tokens["refresh_token"] });
    let (status, second) = post(&app, "/api/auth/refresh", &refresh(&tokens)).await;
    assert_eq!(status, 200, "{second}");
    assert_eq!(claims(&second)["roles"], json!(["editor"]));
    change(&pool, "UPDATE accounts SET blocked = true").await;
    let (status, refused) = post(&app, "/api/auth/refresh", &refresh(&second)).await;
    assert_eq!(
        (status.as_u16(), &refused["error"]),
        (400, &json!("invalid_grant"))
    );
    let (status, _) = post(&app, "/api/auth/login", &login("U*U")).await;
    assert_eq!(status, 401);

    // Users register elsewhere.
    let (status, _) = post(&app, "/api/auth/register", &login("a long password")).await;
    assert_eq!(status, 404);
}
