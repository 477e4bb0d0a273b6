//! A limit on what strangers are given without a password: guests, and accounts.

use std::{convert::Infallible, num::NonZeroU32};

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tower::{Layer, ServiceExt};
use tower_jwt_auth::rate_limit::{ClientIp, RateLimitLayer};

/// A budget for each network. Generous, for a first try; on the internet thirty an hour are plenty.
pub(crate) fn limit(clients: ClientIp) -> RateLimitLayer {
    RateLimitLayer::per_minute(A_MINUTE, clients).burst(AT_ONCE)
}

/// Middleware around the endpoints: the limit is for two of them, the others go on as they are.
pub(crate) async fn sparingly(
    State(limit): State<RateLimitLayer>,
    request: Request,
    next: Next,
) -> Result<Response, Infallible> {
    // By the last segment: the endpoints do not mind a second slash before it.
    match request.uri().path().rsplit('/').next() {
        Some("guest" | "register") => {
            let answer = limit.layer(next).oneshot(request).await?;
            Ok(answer.into_response())
        }
        _ => Ok(next.run(request).await),
    }
}

const A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
const AT_ONCE: NonZeroU32 = NonZeroU32::new(100).unwrap();
