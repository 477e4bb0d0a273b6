//! A guarded route, and the events of its refusals.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::http::{Request, Response, StatusCode};
use integration_policy::on_document;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    Principal, RoleGuardLayer,
    event::{EventRecord, sink_fn},
    layer::role_guard::{Decide, Rule},
    test_util::signed_in,
};

/// Longer than an engine takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn caller(subject: &str, role: &str) -> Principal {
    let caller = Principal::builder().subject(subject).scope("documents");
    caller.roles([role]).build()
}

/// Sends a request through a guard with this engine. Returns the status, and the reason of the
/// refusal from its event.
pub async fn ask(
    engine: &Arc<impl Decide>,
    caller: &Principal,
    action: &str,
    path: &str,
) -> (StatusCode, Option<String>) {
    let reasons = Arc::new(Mutex::new(None));
    let told = Arc::clone(&reasons);
    let sink = sink_fn(move |event| *told.lock().unwrap() = EventRecord::of(event).reason);
    let guard = RoleGuardLayer::new(Rule::scope("documents").action(on_document(action)))
        .events(sink)
        .policy(Arc::clone(engine))
        .wait_limit(PATIENCE);
    let response = ServiceBuilder::new()
        .layer(signed_in(caller.clone()))
        .layer(guard)
        .service(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(Response::new(String::new()))
        }))
        .oneshot(Request::get(path).body(String::new()).unwrap())
        .await
        .unwrap();
    let reason = reasons.lock().unwrap().take();
    (response.status(), reason)
}
