//! Q15: a forwarded identity survives the hop exactly, or is left out.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::layer::jwt::ForwardedClaim;

use crate::support::{
    answer::send,
    fixture::{Fixture, bearer},
};

async fn forwarded(
    fixture: &Fixture,
    claim: &str,
    value: Value,
    as_: ForwardedClaim,
) -> Option<String> {
    let layer = fixture
        .layer()
        .forward_as(HeaderName::from_static("x-it"), as_);
    let token = fixture.with(claim, value);
    let answer = send(layer, bearer(token)).await.passes(claim);
    let value = answer.seen().headers.get("x-it");
    value.map(|value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn q15_a_value_that_would_not_survive_the_hop_is_left_out() {
    let fixture = Fixture::new();
    for left_out in [
        "admin ",
        " admin",
        "\tadmin",
        "admin\t",
        " ",
        "",
        "ad\u{a0}min",
    ] {
        let texts = [
            ("sub", ForwardedClaim::Subject),
            ("sid", ForwardedClaim::SessionId),
            ("client_id", ForwardedClaim::ClientId),
        ];
        for (claim, as_) in texts {
            let value = forwarded(&fixture, claim, json!(left_out), as_).await;
            assert_eq!(value, None, "{claim}: {left_out:?}");
        }
    }
    let value = forwarded(&fixture, "sub", json!("ad min,x"), ForwardedClaim::Subject).await;
    assert_eq!(value.as_deref(), Some("ad min,x"));
}

#[tokio::test]
async fn q15_a_list_holds_whole_items_and_no_empty_one() {
    let fixture = Fixture::new();
    for (roles, expected) in [
        (json!(["user", " admin"]), Some("user")),
        (json!(["admin ", "user"]), Some("user")),
        (json!(["a,admin", "user"]), Some("user")),
        (json!(["", "user", ""]), Some("user")),
        (json!(["super user", "b"]), Some("super user,b")),
        (json!(["\tadmin", "user"]), Some("user")),
        (json!([""]), None),
        (json!([" admin"]), None),
        (json!([]), None),
    ] {
        let value = forwarded(&fixture, "roles", roles.clone(), ForwardedClaim::Roles).await;
        assert_eq!(value.as_deref(), expected, "{roles}");
    }
    for (scope, expected) in [
        (json!("read write"), Some("read write")),
        (json!(" read  write "), Some("read write")),
        (json!(""), None),
    ] {
        let value = forwarded(&fixture, "scope", scope.clone(), ForwardedClaim::Scope).await;
        assert_eq!(value.as_deref(), expected, "{scope}");
    }
}

/// Other spellings of `x-user`, which some server takes for the same name.
const SPELLINGS: [&str; 6] = ["x.user", "x_user", "x~user", "x!user", "x'user", "x|user"];

#[tokio::test]
async fn q15_no_other_spelling_of_the_name_arrives() {
    let fixture = Fixture::new();
    let name = HeaderName::from_static("x-user");
    for layer in [fixture.layer(), fixture.layer().optional()] {
        let layer = layer.forward_as(name.clone(), ForwardedClaim::Subject);
        let mut request = bearer(fixture.without("sub"));
        for spelling in SPELLINGS {
            let spelled = HeaderName::from_bytes(spelling.as_bytes()).unwrap();
            let value = HeaderValue::from_static("admin");
            request.headers_mut().insert(spelled, value);
        }
        let kept = ["xuser", "x--user", "x-user2", "ax-user"];
        for name in kept {
            let value = HeaderValue::from_static("kept");
            request.headers_mut().insert(name, value);
        }
        let dropped = HeaderValue::from_str(&format!("close, {}", SPELLINGS.join(", "))).unwrap();
        request.headers_mut().insert("connection", dropped);
        let answer = send(layer, request).await.passes("no subject");
        let headers = &answer.seen().headers;
        assert!(
            headers.values().all(|value| value != "admin"),
            "{headers:?}"
        );
        assert!(kept.iter().all(|name| headers.contains_key(*name)));
        assert_eq!(headers["connection"], "close");
    }
}

/// Reads the whole body, and shows the trailers in the response's extensions.
async fn read<B>(request: Request<B>) -> Result<Response<Empty<Bytes>>, Infallible>
where
    B: Body<Data = Bytes, Error = Infallible>,
{
    let Ok(body) = request.into_body().collect().await;
    let mut response = Response::new(Empty::new());
    if let Some(trailers) = body.trailers() {
        response.extensions_mut().insert(trailers.clone());
    }
    assert_eq!(body.to_bytes(), "all of it");
    Ok(response)
}

#[tokio::test]
async fn q15_no_trailer_carries_the_name() {
    let fixture = Fixture::new();
    let name = HeaderName::from_static("x-user");
    let layer = fixture.layer().forward_as(name, ForwardedClaim::Subject);
    let trailers = |names: &[&str]| {
        let lines = names.iter().map(|name| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_static("admin"))
        });
        HeaderMap::from_iter(lines)
    };
    let with_others = [&SPELLINGS[..], &["x-user", "x-checksum"]].concat();
    for (sent, expected) in [
        (&with_others[..], Some(trailers(&["x-checksum"]))),
        (&["x-checksum"], Some(trailers(&["x-checksum"]))),
        (&["x-user"], None),
    ] {
        let end = trailers(sent);
        let body = Full::new(Bytes::from_static(b"all of it"))
            .with_trailers(std::future::ready(Some(Ok::<_, Infallible>(end))));
        let (parts, _) = bearer(fixture.token()).into_parts();
        let request = Request::from_parts(parts, body);
        let response = layer
            .layer(service_fn(read))
            .oneshot(request)
            .await
            .unwrap();
        assert_eq!(response.status(), 200);
        let arrived = response.extensions().get::<HeaderMap>().cloned();
        assert_eq!(arrived, expected, "{sent:?}");
    }
}
