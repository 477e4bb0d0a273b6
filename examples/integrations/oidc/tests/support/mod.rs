//! The application of the example on a free port.

use std::net::SocketAddr;

use axum::Router;
use oidc::Provider;
use openidconnect::{ClientId, ClientSecret, IssuerUrl, reqwest};
use tokio::net::TcpListener;
use tower_jwt_auth::{
    AuthServer,
    layer::rate_limit::ClientIp,
    server::login::{EmailAddress, Identifier, UnknownIdentity},
    store::{MemoryStore, port::UserStore},
};

pub const CLIENT: &str = "the-app";
pub const SECRET: &str = "a secret of the application";
pub const ADA: &str = "ada@example.org";
pub const PASSWORD: &str = "correct horse battery staple";

/// A running application.
#[derive(Debug)]
pub struct App {
    pub origin: String,
    pub auth: AuthServer,
    store: MemoryStore,
}

impl App {
    /// Starts the application. The provider is found at `issuer`, which gets the application's origin.
    pub async fn start(issuer: impl FnOnce(&str) -> String) -> Self {
        let named = |origin: &str| vec![("idp", issuer(origin))];
        Self::start_with(UnknownIdentity::Refuse, named).await
    }

    /// Starts the application with several providers, behind a proxy on this machine.
    pub async fn start_with(
        unknown: UnknownIdentity,
        providers: impl FnOnce(&str) -> Vec<(&'static str, String)>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let redirects = reqwest::redirect::Policy::none();
        let http = reqwest::Client::builder().redirect(redirects);
        let http = http.build().unwrap();
        let store = MemoryStore::new();
        let mut auth = AuthServer::builder(store.clone())
            .public_origin(&origin)
            .registration(true)
            .client_ip(ClientIp::behind(["127.0.0.1"]).unwrap())
            .on_unknown_identity(unknown);
        for (name, issuer) in providers(&origin) {
            let provider = Provider {
                issuer: IssuerUrl::new(issuer).unwrap(),
                client_id: ClientId::new(CLIENT.to_owned()),
                client_secret: ClientSecret::new(SECRET.to_owned()),
                http: http.clone(),
            };
            auth = auth.identity_provider(name, provider);
        }
        let auth = auth.start().await.unwrap();
        let app = Router::new()
            .nest_service(auth.path(), auth.endpoints().nested())
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self {
            origin,
            auth,
            store,
        }
    }

    /// Records that a user receives mail at the address of the account.
    pub async fn verify(&self, name: &str) -> String {
        let user = self
            .store
            .find(&Identifier::new(name).unwrap())
            .await
            .unwrap()
            .unwrap();
        let address = EmailAddress::new(name).unwrap();
        assert!(
            self.store
                .verify_email(&user.subject, &address)
                .await
                .unwrap()
        );
        user.subject
    }
}
