//! The events of a session, sent to its owner as they happen, and a token that is meant for another API.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::sse::{Event, KeepAlive, Sse},
    routing::{get, post},
};
use futures_util::{
    StreamExt,
    stream::{self, Stream},
};
use serde_json::{Value, json};
use tokio::{sync::broadcast::Sender, time::sleep};
use tower_jwt_auth::{
    AuthServer, Principal,
    event::{AuthEvent, EventRecord, EventSink, SessionEvent},
    layer::{response::AccessDenied, socket::CloseReason},
    principal::UserPrincipal,
    server::issue::{AccessTokenClaims, TokenIssuer},
};

/// The events of the sessions in this process, each with a detail. `None` ends all streams.
#[derive(Clone)]
pub(crate) struct Feed(Sender<Option<(SessionEvent, &'static str)>>);

impl Feed {
    pub(crate) fn new() -> Self {
        Self(Sender::new(256))
    }

    /// Ends all streams, so that they do not keep the server from stopping.
    pub(crate) fn close(&self) {
        let _ = self.0.send(None);
    }
}

impl EventSink for Feed {
    fn record(&self, event: &AuthEvent<'_>) {
        if let AuthEvent::Session(of_session) = *event {
            let detail = EventRecord::of(event).detail.unwrap_or_default();
            let _ = self.0.send(Some((of_session.clone(), detail)));
        }
    }
}

type Live = State<(Feed, AuthServer)>;

/// Returns the routes. They need an authenticating layer outside.
pub(crate) fn routes(feed: Feed, auth: AuthServer) -> Router {
    Router::new()
        .route("/api/events", get(events))
        .route("/demo/other-audience", post(other_audience))
        .with_state((feed, auth))
}

/// Streams the events of the caller's session until it ends, and then the reason of the end.
async fn events(
    State((feed, auth)): Live,
    caller: Principal,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, AccessDenied> {
    let denied = |reason: CloseReason| reason.denied(&caller);
    let session = caller.session_id().and_then(|id| id.parse().ok());
    let session = session.ok_or_else(|| denied(CloseReason::Unauthenticated))?;
    // Subscribed before the check, so that no event is missed in between.
    let events = feed.0.subscribe();
    let guard = auth.sockets().guard(caller.clone()).map_err(denied)?;
    let events = stream::unfold(events, async |mut events| {
        Some((events.recv().await.ok()?, events))
    });
    let own = events.flat_map(move |event| {
        let subject = caller.subject().unwrap_or_default();
        stream::iter(match event {
            Some((event, _)) if !event.concerns(subject, session) => vec![],
            Some((event, detail)) => vec![Some((event.name(), detail))],
            None => vec![Some(("end", "server_stops")), None],
        })
    });
    let last = stream::once(async move {
        let reason = guard.into_closed().await;
        // The event that reports the end of the session follows the end.
        sleep(LAST_EVENTS).await;
        stream::iter([Some(("end", reason.as_str())), None])
    });
    let all = stream::select(own, last.flatten().boxed());
    let until_end = all.scan((), |(), event| ready(event));
    let events = until_end.map(|(name, detail)| Ok(Event::default().event(name).data(detail)));
    Ok(Sse::new(events).keep_alive(KeepAlive::new()))
}

/// Issues a token of this server for another API. The page presents it here.
async fn other_audience(
    State((_, auth)): Live,
    user: UserPrincipal,
) -> Result<Json<Value>, StatusCode> {
    let ours = auth.issuer();
    let theirs = TokenIssuer::builder(ours.keys().clone())
        .issuer(ours.issuer())
        .audience("https://another-api.example")
        .build();
    let claims = AccessTokenClaims::for_subject(user.subject().unwrap_or_default());
    let token = theirs
        .ok()
        .and_then(|api| api.issue_access_token(claims).ok());
    let token = token.ok_or(StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(json!({ "access_token": token.token().expose() })))
}

const LAST_EVENTS: Duration = Duration::from_millis(250);
