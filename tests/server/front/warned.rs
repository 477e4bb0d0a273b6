//! The warning about a layer or a socket that does not know what ends.

use std::convert::Infallible;

use http::Request;
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    AuthServer, JwtAuthLayer,
    layer::socket::SocketAuth,
    server::session::{StartSession, StaticClaims},
    store::MemoryStore,
};

use crate::support::log::Log;

fn warnings(log: &Log, issuer: &str) -> usize {
    let text = log.text();
    let warned = |line: &&str| line.contains("without a revocation set") && line.contains(issuer);
    text.lines().filter(warned).count()
}

async fn call<L>(layer: L, access: &str)
where
    L: Layer<
            tower::util::BoxCloneService<Request<()>, http::Response<String>, Infallible>,
            Service: tower::Service<Request<()>, Error = Infallible>,
        >,
{
    let inner = service_fn(async |_| Ok::<_, Infallible>(http::Response::new(String::new())));
    let inner = tower::util::BoxCloneService::new(inner);
    let request = Request::get("/").header("authorization", format!("Bearer {access}"));
    let sent = layer.layer(inner).oneshot(request.body(()).unwrap()).await;
    assert!(sent.is_ok());
}

async fn server(issuer: &str) -> AuthServer {
    let builder = AuthServer::builder(MemoryStore::new()).issuer(issuer);
    let builder = builder.claims_source(StaticClaims);
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_place_that_accepts_ended_sessions_is_logged_once() {
    let (log, _guard) = Log::start();
    for place in ["layer", "socket"] {
        let issuer = format!("https://{place}.example");
        let auth = server(&issuer).await;
        let token = async || {
            let tokens = auth
                .sessions()
                .start(StartSession::new("ada"))
                .await
                .unwrap();
            tokens.access_token().expose().clone()
        };
        // What the server returns has the set.
        call(auth.layer(), &token().await).await;
        let caller = auth
            .verifier()
            .verify_now(token().await)
            .unwrap()
            .principal();
        assert!(auth.sockets().guard(caller.clone()).is_ok());
        assert_eq!(warnings(&log, &issuer), 0);

        // By hand, without the set.
        let verifier = auth.issuer().verifier().build().unwrap();
        for _ in 0..3 {
            match place {
                "layer" => call(JwtAuthLayer::new(verifier.clone()), &token().await).await,
                _ => drop(SocketAuth::new(verifier.clone()).guard(caller.clone())),
            }
            assert_eq!(warnings(&log, &issuer), 1, "{place}");
        }
    }
    // Tokens of sessions that no set in this process ends.
    let auth = server("https://gone.example").await;
    let tokens = auth
        .sessions()
        .start(StartSession::new("ada"))
        .await
        .unwrap();
    let access = tokens.access_token().expose().clone();
    let verifier = auth.issuer().verifier().build().unwrap();
    drop(auth);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    super::until("the tasks end", async || tasks() == 0).await;
    call(JwtAuthLayer::new(verifier), &access).await;
    assert_eq!(warnings(&log, "https://gone.example"), 0);
}
