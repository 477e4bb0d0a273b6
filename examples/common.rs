//! What the servers of the examples have in common: answers about the caller, counters, and their end.

use std::{error::Error, io, process::ExitCode, time::Duration};

use axum::{
    Json,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::{MethodRouter, get},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_jwt_auth::{Principal, RoleGuardLayer, layer::role_guard::Rule};

pub(crate) async fn me(caller: Principal) -> Json<Value> {
    Json(json!({
        "sub": caller.subject(),
        "roles": caller.roles().collect::<Vec<_>>(),
        "scope": caller.scope().collect::<Vec<_>>(),
        "exp": caller.expires_at().map(|at| at.as_secs()),
    }))
}

/// Returns a guard for a sign-in with a second factor within the last five minutes (RFC 9470).
pub(crate) fn recent_second_factor() -> RoleGuardLayer {
    const MINUTES: Duration = Duration::from_secs(300);

    let rule = Rule::acr(["urn:example:mfa"]).and(Rule::max_auth_age(MINUTES));
    RoleGuardLayer::new(rule)
}

pub(crate) async fn greet(caller: Option<Principal>) -> Json<Value> {
    Json(match caller {
        Some(caller) => json!({ "authenticated": true, "sub": caller.subject() }),
        None => json!({ "authenticated": false }),
    })
}

/// Returns the route of the counters, which the layers increment through the `metrics` facade.
pub(crate) fn metrics() -> Result<MethodRouter, Box<dyn Error>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    Ok(get(async move || {
        metrics.run_upkeep();
        let kind = (CONTENT_TYPE, "text/plain; version=0.0.4");
        ([kind], metrics.render()).into_response()
    }))
}

pub(crate) async fn listen((host, port): (&str, u16)) -> Result<TcpListener, String> {
    let listener = TcpListener::bind((host, port)).await;
    listener.map_err(|error| format!("HOST, PORT: cannot listen on {host}:{port}: {error}"))
}

/// Returns the answer to a readiness probe.
pub(crate) fn ready(problem: Option<&'static str>) -> (StatusCode, &'static str) {
    match problem {
        None => (StatusCode::OK, "ready"),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, problem),
    }
}

/// Prints the error in one line, and returns the exit code: 2 for an invalid setting.
pub(crate) fn exit(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

/// Installs handlers for Ctrl-C and SIGTERM, and returns a future that completes at the first signal. The
/// server then finishes the requests in progress.
#[cfg(unix)]
pub(crate) fn stopped() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
    })
}

#[cfg(not(unix))]
pub(crate) fn stopped() -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
