//! The start: values in code and from settings, refused values, warnings, and the background tasks.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    key::{Algorithm, SigningKey},
    server::{
        AuthServerBuilder, SeedUser,
        login::{Identifier, PasswordHash},
    },
    store::{
        AnyStore, MemoryStore,
        port::{UserRecord, UserStore},
    },
};

use super::{Front, NAME, PASSWORD, SECRET, cheap, post, stores, until, vars};

fn builder() -> AuthServerBuilder<MemoryStore> {
    AuthServer::builder(MemoryStore::new()).login(|login| login.hasher(cheap()))
}

/// The name of the value that is refused.
async fn refused<S, U>(builder: AuthServerBuilder<S, U>) -> String
where
    S: tower_jwt_auth::store::port::AuthStore,
    U: UserStore,
{
    let error = builder.start().await.unwrap_err().to_string();
    error.split(':').next().unwrap_or_default().to_owned()
}

/// Users of a table in which others register.
struct Elsewhere;

impl UserStore for Elsewhere {
    async fn find(&self, _: &Identifier) -> Result<Option<UserRecord>, StoreError> {
        Ok(None)
    }

    async fn find_by_subject(&self, _: &str) -> Result<Option<UserRecord>, StoreError> {
        Ok(None)
    }

    async fn replace_hash(
        &self,
        _: &str,
        _: &PasswordHash,
        _: &PasswordHash,
    ) -> Result<bool, StoreError> {
        Ok(false)
    }
}

#[tokio::test]
async fn a_public_origin_is_enough() {
    let auth = builder().public_origin("https://app.example").start().await;
    let auth = auth.unwrap();
    assert_eq!(auth.issuer().issuer(), "https://app.example");
    assert_eq!(auth.path(), "/api/auth");
    assert!(auth.is_ready());
    assert!(auth.endpoints().cookies().is_some());
    // An issuer alone is, too. There are no cookies then.
    let auth = builder().issuer("https://auth.example").start().await;
    assert!(auth.unwrap().endpoints().cookies().is_none());
}

#[tokio::test]
async fn a_value_in_code_takes_precedence_over_the_settings() {
    let settings = vars(&[
        ("JWT_ISSUER", "https://old.example"),
        ("JWT_AUDIENCE", "old"),
        ("JWT_CLIENT_ID", "web"),
        ("JWT_TOKEN_URL", "/login/token"),
    ]);
    let auth = builder()
        .issuer("https://new.example")
        .audience("new")
        .settings(settings)
        .tokens(|tokens| tokens.access_lifetime(Duration::from_secs(60)))
        .start()
        .await
        .unwrap();
    assert_eq!(auth.issuer().issuer(), "https://new.example");
    assert_eq!(auth.issuer().client_id(), "web");
    assert_eq!(auth.issuer().access_lifetime().as_secs(), 60);
    assert_eq!(auth.path(), "/login");
}

#[tokio::test]
async fn a_refused_value_is_named() {
    assert_eq!(refused(builder()).await, "issuer");
    let public = || builder().public_origin("https://app.example");
    for (case, refusal) in [
        (
            "public_origin",
            refused(builder().public_origin("app.example")).await,
        ),
        (
            "public_origin",
            refused(builder().public_origin("http://app.example")).await,
        ),
        (
            "registration",
            refused(public().registration(true).users(Elsewhere)).await,
        ),
        (
            "trusted_origin",
            refused(
                builder()
                    .issuer("https://auth.example")
                    .endpoints(|endpoints| endpoints.trusted_origin("https://www.app.example")),
            )
            .await,
        ),
        (
            "cookie_prefix",
            refused(
                builder()
                    .issuer("https://auth.example")
                    .endpoints(|endpoints| endpoints.cookie_prefix("shop")),
            )
            .await,
        ),
        (
            "max_sessions",
            refused(public().sessions(|sessions| sessions.max_sessions(0))).await,
        ),
        (
            "AUTH_PUBLIC_URL",
            refused(builder().settings(vars(&[("HOST", "0.0.0.0")]))).await,
        ),
    ] {
        assert_eq!(refusal, case);
    }
    let seeded = |user| builder().settings(vars(&[]).seed(user));
    for (case, user) in [
        ("an empty name", SeedUser::new(" ", PASSWORD, ["user"])),
        (
            "a long password",
            SeedUser::new(NAME, "x".repeat(1025), ["user"]),
        ),
    ] {
        assert_eq!(refused(seeded(user)).await, "AUTH_SEED_USER", "{case}");
    }
    let user = SeedUser::new(NAME, PASSWORD, ["user"]);
    assert_eq!(
        refused(seeded(user).users(Elsewhere)).await,
        "AUTH_SEED_USER"
    );
}

/// Registration elsewhere: no endpoint, and no method to implement.
#[tokio::test]
async fn a_table_in_which_others_register_has_no_endpoint_for_it() {
    assert!(!UserStore::can_create(&Elsewhere));
    let auth = builder()
        .public_origin("https://app.example")
        .users(Elsewhere);
    let auth = auth.start().await.unwrap();
    let request = post("register", &super::ada());
    let Ok(answer) = tower::ServiceExt::oneshot(auth.endpoints(), request).await;
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn seed_users_are_created_once_under_a_subject_that_is_no_name() {
    for (store, folder) in stores().await {
        let start = async |password: &str| {
            let seed = SeedUser::new(NAME, password, ["admin"]);
            let builder = AuthServer::builder(store.clone()).settings(vars(&[]).seed(seed));
            let builder = builder.login(|login| login.hasher(cheap()));
            builder.start().await.unwrap()
        };
        let subject = async |store: &AnyStore| {
            let name = Identifier::new(NAME).unwrap();
            UserStore::find(store, &name)
                .await
                .unwrap()
                .unwrap()
                .subject
        };
        start(PASSWORD).await;
        let first = subject(&store).await;
        assert!(first.starts_with("usr_"), "{first}");
        // Existing users are not changed.
        let auth = start("another password").await;
        assert_eq!(subject(&store).await, first);
        let login = post("login", &super::ada());
        let Ok(answer) = tower::ServiceExt::oneshot(auth.endpoints(), login).await;
        assert_eq!(answer.status(), 200);
        drop(folder);
    }
}

#[tokio::test]
async fn every_setting_that_is_not_fit_for_production_is_a_sentence() {
    let warnings = async |builder: AuthServerBuilder<MemoryStore>| {
        let auth = builder.start().await.unwrap();
        auth.warnings().map(str::to_owned).collect::<Vec<_>>()
    };
    let starts = |warnings: &[String], starts: &[&str]| {
        assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
        for (warning, start) in warnings.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
            assert!(!warning.contains(SECRET), "{warning}");
        }
    };
    let all = vars(&[
        ("AUTH_PUBLIC_URL", "https://app.example"),
        ("JWT_LEEWAY_SECONDS", "1"),
    ]);
    starts(
        &warnings(builder().settings(all)).await,
        &[
            "AUTH_SECRET_KEY is not set: ",
            "the signing key ends with the process",
            "AUTH_TRUSTED_PROXIES is not set: ",
            "JWT_LEEWAY_SECONDS is not a known variable; ignored",
        ],
    );
    let none = vars(&[
        ("AUTH_SECRET_KEY", SECRET),
        ("JWT_SECRET_KEY", "another test secret, never in use"),
    ]);
    starts(&warnings(builder().settings(none)).await, &[]);
    // In code the names are those of the methods.
    let origin = "https://app.example";
    starts(
        &warnings(builder().public_origin(origin)).await,
        &[
            "the secret is not set: ",
            "the signing key ends with the process",
        ],
    );
    let key = SigningKey::generate(Algorithm::EdDsa).unwrap();
    let secret = SECRET.parse().unwrap();
    let builder = builder().public_origin(origin).signing_key(key);
    starts(&warnings(builder.secret(secret)).await, &[]);
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn without_a_store_the_settings_open_one_for_a_trial_and_name_it() {
    let settings = vars(&[]);
    let store = settings.open_store().await.unwrap();
    let auth = AuthServer::builder(store).settings(settings).start().await;
    let auth = auth.unwrap();
    let warning = auth.warnings().next().unwrap_or_default().to_owned();
    let (start, path) = warning.split_once("sqlite:").unwrap();
    assert_eq!(start, "AUTH_STORE is not set: the store is ");
    let folder = std::path::Path::new(path).parent().unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = std::fs::metadata(folder).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
    drop(auth);
    std::fs::remove_dir_all(folder).unwrap();
    let error = vars(&[("AUTH_STORE", "mysql://localhost")])
        .open_store()
        .await;
    let error = error.unwrap_err().to_string();
    assert!(error.starts_with("AUTH_STORE: "), "{error}");
}

/// Two nodes on one store, with one secret: keys, refresh tokens and users are shared.
#[tokio::test]
async fn nodes_with_one_secret_accept_each_others_tokens() {
    for (store, folder) in stores().await {
        let node = async || {
            let settings = vars(&[("AUTH_SECRET_KEY", SECRET)]);
            let settings = settings.seed(SeedUser::new(NAME, PASSWORD, ["admin"]));
            let builder = AuthServer::builder(store.clone()).settings(settings);
            let builder = builder.login(|login| login.hasher(cheap()));
            builder.start().await.unwrap()
        };
        let (one, two) = (node().await, node().await);
        let login = post("login", &super::ada());
        let Ok(answer) = tower::ServiceExt::oneshot(one.endpoints(), login).await;
        let tokens = super::Answer::of(answer).await;
        assert!(two.verifier().verify_now(tokens.access()).is_ok());
        let refreshed = two.sessions().refresh(&tokens.refresh()).await;
        assert!(refreshed.is_ok(), "{refreshed:?}");
        drop(folder);
    }
}

/// A server that was built and dropped leaves no task. Its endpoints keep them, because an
/// application may keep nothing else.
#[tokio::test]
async fn background_tasks_end_with_the_last_clone_of_the_server_and_its_endpoints() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let server = builder()
        .public_origin("https://app.example")
        .guests(|guests| guests);
    let auth = server.start().await.unwrap();
    let started = tasks();
    assert!(started > before);
    let (clone, endpoints) = (auth.clone(), auth.endpoints());
    drop(auth);
    drop(clone);
    tokio::task::yield_now().await;
    assert_eq!(tasks(), started);
    let sessions = json!({});
    let Ok(_) = tower::ServiceExt::oneshot(endpoints.clone(), post("guest", &sessions)).await;
    drop(endpoints);
    until("the tasks end", async || tasks() == before).await;
}

#[tokio::test]
async fn a_refused_server_leaves_no_task() {
    let before = Handle::current().metrics().num_alive_tasks();
    let refused = builder().issuer("https://auth.example");
    let refused = refused.endpoints(|endpoints| endpoints.cookie_prefix("shop"));
    assert!(refused.start().await.is_err());
    let tasks = || Handle::current().metrics().num_alive_tasks();
    until("the tasks end", async || tasks() == before).await;
}

/// Three lines of wiring, as a host without axum has them.
#[tokio::test]
async fn the_endpoints_have_one_path_each_nested_or_not() {
    for front in Front::on_each(&[]).await {
        let status = async |nested: bool, path: &str| {
            let endpoints = front.auth.endpoints();
            let endpoints = match nested {
                true => endpoints.nested(),
                false => endpoints,
            };
            let mut request = post("login", &super::ada());
            *request.uri_mut() = path.parse().unwrap();
            let Ok(answer) = tower::ServiceExt::oneshot(endpoints, request).await;
            answer.status().as_u16()
        };
        assert_eq!(status(false, "/api/auth/login").await, 200);
        assert_eq!(status(false, "/login").await, 404);
        assert_eq!(status(true, "/login").await, 200);
        assert_eq!(status(true, "/api/auth/login").await, 404);
    }
}
