//! The login server of the example, and its page.

use axum::{Router, response::Html, routing::get};
use passkeys::Authority;
use tower_jwt_auth::{
    AuthServer,
    error::StoreError,
    server::login::FirstStep,
    store::{
        MemoryStore,
        port::{CredentialRecord, CredentialStore},
    },
};

/// Creates the routes for pages of this origin, on `localhost`.
pub async fn app(origin: &str) -> Result<Router, Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let rows = store.clone();
    let authority = Authority::new("localhost", origin).map_err(|error| error.to_string())?;
    let auth = AuthServer::builder(store)
        .public_origin(origin)
        .registration(true)
        .passkeys(authority)
        // Whoever has a passkey needs it beside the password.
        .second_step(move |first: FirstStep| {
            let rows = rows.clone();
            async move {
                let has_two = first.amr().any(|method| method == "mfa");
                let rows = rows.credentials("passkey", first.subject()).await?;
                let has_passkey = rows.iter().any(CredentialRecord::is_linked);
                let asks = has_passkey && !has_two;
                Ok::<_, StoreError>(asks.then(|| "webauthn".to_owned()).into_iter().collect())
            }
        })
        .start()
        .await?;
    Ok(Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .nest_service(auth.path(), auth.endpoints().nested()))
}
