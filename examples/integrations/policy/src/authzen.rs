//! Decisions by a server of the AuthZEN Authorization API 1.0, over HTTP.

use std::{error::Error, future::Future, pin::Pin, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower_jwt_auth::layer::role_guard::{Decide, Decided, Decision, Question};

/// A policy decision point with the AuthZEN access evaluation API.
///
/// The client has no TLS, for a decision point beside the application. Use the connector of
/// `hyper-rustls` for one on another host.
#[derive(Clone)]
pub struct AuthZen {
    client: Client<HttpConnector, Full<Bytes>>,
    endpoint: Uri,
    limit: Duration,
}

type Problem = Box<dyn Error + Send + Sync>;

impl AuthZen {
    /// Creates a client for the decision point at this URL, such as `http://127.0.0.1:3592`. A query
    /// may take as long as `limit`.
    pub fn new(url: &str, limit: Duration) -> Result<Self, Problem> {
        let endpoint = format!("{}/access/v1/evaluation", url.trim_end_matches('/'));
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build_http(),
            endpoint: endpoint.parse()?,
            limit,
        })
    }

    async fn evaluate(&self, body: String) -> Result<Decision, Problem> {
        let mut request = Request::new(Full::new(body.into()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.endpoint.clone();
        let json = HeaderValue::from_static("application/json");
        request.headers_mut().insert(CONTENT_TYPE, json);
        let response = self.client.request(request).await?;
        // A refusal is 200 with `"decision": false`. Any other status is a failure of the query.
        if response.status() != StatusCode::OK {
            return Err(format!("status {}", response.status()).into());
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER);
        let body = body.collect().await?.to_bytes();
        // Not a struct of serde: one is read from a list as well.
        let answer: Value = serde_json::from_slice(&body)?;
        match answer.get("decision").and_then(Value::as_bool) {
            Some(true) => Ok(Decision::Allow),
            Some(false) => Ok(match answer.get("context") {
                Some(context) => Decision::deny().because(context.to_string()),
                None => Decision::deny(),
            }),
            None => Err("a response without a decision".into()),
        }
    }
}

impl Decide for AuthZen {
    type Future = Pin<Box<dyn Future<Output = Decision> + Send>>;

    fn decide(&self, question: &Question<'_>) -> Decided<Self::Future> {
        let caller = question.caller();
        let (Some(subject), Some(action), Some(kind), Some(id)) = (
            caller.subject(),
            question.action(),
            question.resource(),
            question.resource_id(),
        ) else {
            let reason = "no subject, action or resource";
            return Decided::Ready(Decision::deny().because(reason));
        };
        let body = json!({
            "subject": {
                "type": caller.kind().as_str(),
                "id": subject,
                "properties": {
                    "roles": caller.roles().collect::<Vec<_>>(),
                    "scopes": caller.scope().collect::<Vec<_>>(),
                },
            },
            "action": { "name": action },
            "resource": { "type": kind, "id": id },
            "context": { "method": question.head().method().as_str() },
        });
        let engine = self.clone();
        Decided::Pending(Box::pin(async move {
            match timeout(engine.limit, engine.evaluate(body.to_string())).await {
                Ok(Ok(decision)) => decision,
                Ok(Err(error)) => Decision::unavailable(5).because(error.to_string()),
                Err(_) => Decision::unavailable(1).because("no response in time"),
            }
        }))
    }
}

const LONGEST_ANSWER: usize = 64 * 1024;
