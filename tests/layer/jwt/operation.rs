//! Section Q: identity headers, extensions, expiry, and the order of the checks.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request};
use serde_json::{Map, Value, json};
use tower::ServiceBuilder;
use tower_jwt_auth::{
    Anonymous, Claims, JwtAuthLayer, Principal, Verified, Verifier,
    error::AuthErrorKind,
    layer::{extract::Header, jwt::ForwardedClaim},
    revocation::NoRevocation,
    verify::CheckError,
};

use crate::support::{
    answer::send,
    fixture::{Counting, Fixture, ISSUER, bearer},
};

const FORGED: [&str; 5] = [
    "x-user-id",
    "x_user_id",
    "x-user_id",
    "x_user-id",
    "X-User_Id",
];

fn forge(mut request: Request<String>) -> Request<String> {
    for name in FORGED {
        let name = HeaderName::try_from(name).unwrap();
        for value in ["admin", "root"] {
            request
                .headers_mut()
                .append(&name, HeaderValue::from_static(value));
        }
    }
    let other = HeaderValue::from_static("kept");
    request.headers_mut().insert("x-user-id-2", other);
    request
}

fn forwarding(layer: JwtAuthLayer) -> JwtAuthLayer<Claims, NoRevocation, true> {
    let name = HeaderName::from_static("x-user-id");
    layer.forward_as(name, ForwardedClaim::Subject)
}

/// The values under every spelling of the header that the layer emits.
fn identity(headers: &HeaderMap) -> Vec<String> {
    assert_eq!(headers["x-user-id-2"], "kept");
    headers
        .iter()
        .filter(|(name, _)| name.as_str().replace('_', "-") == "x-user-id")
        .map(|(_, value)| value.to_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn q1_identity_headers_are_the_layers_own_word() {
    let fixture = Fixture::new();
    let layer = || forwarding(fixture.layer());
    let answer = send(layer(), forge(bearer(fixture.token())))
        .await
        .passes("token");
    assert_eq!(identity(&answer.seen().headers), ["alice"]);
    // A token without the claim, or with one that no header can hold, says nothing.
    for token in [
        fixture.without("sub"),
        fixture.with("sub", json!("al\nice")),
        fixture.with("sub", json!("älice")),
        fixture.with("sub", json!("a\u{0}")),
    ] {
        let answer = send(layer(), forge(bearer(token)))
            .await
            .passes("no subject");
        assert!(identity(&answer.seen().headers).is_empty());
    }
    // Control: a layer that emits nothing removes nothing.
    let answer = send(fixture.layer(), forge(bearer(fixture.token()))).await;
    assert_eq!(identity(&answer.seen().headers).len(), 2 * FORGED.len());
}

#[tokio::test]
async fn q1_identity_headers_are_removed_where_nobody_is_signed_in_too() {
    let fixture = Fixture::new();
    let nobody = || Request::new(String::new());
    let mut preflight = forge(nobody());
    *preflight.method_mut() = http::Method::OPTIONS;
    let headers = preflight.headers_mut();
    headers.insert("origin", HeaderValue::from_static("https://app.example"));
    headers.insert(
        "access-control-request-method",
        HeaderValue::from_static("PUT"),
    );
    for (layer, request, case) in [
        (fixture.layer().optional(), forge(nobody()), "optional"),
        (fixture.layer().skip_if(|_| true), forge(nobody()), "skip"),
        (
            fixture.layer().skip_if(|_| true),
            forge(bearer(fixture.token())),
            "skip, token",
        ),
        (fixture.layer().allow_preflight(), preflight, "preflight"),
    ] {
        let answer = send(forwarding(layer), request).await.passes(case);
        assert!(identity(&answer.seen().headers).is_empty(), "{case}");
        assert!(answer.seen().extensions.get::<Anonymous>().is_some());
    }
}

#[tokio::test]
async fn q1_every_claim_has_its_form_in_a_header() {
    let fixture = Fixture::new();
    let token = fixture.es.token(|claims| {
        claims.insert("sid".into(), json!("s-1"));
        claims.insert("scope".into(), json!("read write"));
        claims.insert("roles".into(), json!(["a", "b,c", "d e", "é"]));
    });
    let table = [
        ("x-sub", ForwardedClaim::Subject, "alice"),
        ("x-iss", ForwardedClaim::Issuer, ISSUER),
        ("x-client", ForwardedClaim::ClientId, "client"),
        ("x-sid", ForwardedClaim::SessionId, "s-1"),
        ("x-roles", ForwardedClaim::Roles, "a,d e"),
        ("x-scope", ForwardedClaim::Scope, "read write"),
    ];
    let (name, claim, _) = table[0];
    let first = fixture
        .layer()
        .forward_as(HeaderName::from_static(name), claim);
    let layer = table.iter().skip(1).fold(first, |layer, (name, claim, _)| {
        layer.forward_as(HeaderName::from_static(name), *claim)
    });
    let answer = send(layer, bearer(token)).await.passes("all");
    for (name, _, expected) in table {
        assert_eq!(answer.seen().headers[name], expected, "{name}");
    }
}

#[tokio::test]
async fn q2_nothing_that_was_there_before_counts() {
    #[derive(serde::Deserialize)]
    struct Own {}

    let fixture = Fixture::new();
    let mallory = || {
        Principal::builder()
            .subject("mallory")
            .roles(["admin"])
            .build()
    };
    let verified = {
        let verifier = fixture.builder().build().unwrap();
        verifier
            .verify_now(fixture.with("sub", json!("mallory")))
            .unwrap()
    };
    let planted = |mut request: Request<String>| {
        let extensions: &mut Extensions = request.extensions_mut();
        extensions.insert(mallory());
        extensions.insert(verified.clone());
        extensions.insert(Anonymous::default());
        for name in [
            "x-jwt-claims",
            "x-claims",
            "x-user",
            "x-forwarded-user",
            "remote-user",
        ] {
            let value = HeaderValue::from_static("mallory");
            request.headers_mut().insert(name, value);
        }
        request
    };
    let nobody = || planted(Request::new(String::new()));
    send(fixture.layer(), nobody()).await.bare("required");

    for layer in [
        fixture.layer().optional(),
        fixture.layer().skip_if(|_| true),
    ] {
        let answer = send(layer, nobody()).await.passes("anonymous");
        let extensions = &answer.seen().extensions;
        assert!(extensions.get::<Principal>().is_none());
        assert!(extensions.get::<Verified<Claims>>().is_none());
        assert!(extensions.get::<Anonymous>().is_some());
    }
    let answer = send(fixture.layer(), planted(bearer(fixture.token())))
        .await
        .passes("alice");
    let extensions = &answer.seen().extensions;
    assert_eq!(answer.caller().subject(), Some("alice"));
    assert_eq!(
        extensions.get::<Verified<Claims>>().unwrap().subject(),
        Some("alice")
    );
    assert!(extensions.get::<Anonymous>().is_none());

    // A layer for another claims type puts its own beside it, and the caller is its own.
    let verifier = fixture.builder().claims::<Own>().build().unwrap();
    let answer = send(
        JwtAuthLayer::new(verifier),
        planted(bearer(fixture.token())),
    )
    .await;
    let answer = answer.passes("own type");
    assert_eq!(answer.caller().subject(), Some("alice"));
    let own = answer.seen().extensions.get::<Verified<Own>>().unwrap();
    assert_eq!(own.subject(), Some("alice"));
}

#[tokio::test]
async fn q2_an_inner_layer_replaces_claims_of_another_type() {
    #[derive(serde::Deserialize)]
    struct Inner {}

    #[derive(serde::Deserialize)]
    struct Third {}

    let fixture = Fixture::new();
    let inner = || {
        let verifier = fixture.builder().claims::<Inner>().build().unwrap();
        JwtAuthLayer::new(verifier).extractor(Header::new(HeaderName::from_static("x-inner")))
    };
    let (outer_token, inner_token) = (fixture.token(), fixture.with("sub", json!("bob")));
    let both = {
        let mut request = bearer(&outer_token);
        let value = HeaderValue::from_str(&inner_token).unwrap();
        request.headers_mut().insert("x-inner", value);
        request
    };
    for (layer, request, subject) in [
        (inner().optional(), bearer(&outer_token), None),
        (inner().skip_if(|_| true), both.clone(), None),
        (inner(), both.clone(), Some("bob")),
    ] {
        let layers = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(layer.clone());
        let answer = send(layers, request.clone()).await.passes("inner");
        let extensions = &answer.seen().extensions;
        let caller = extensions.get::<Principal>();
        assert_eq!(caller.and_then(Principal::subject), subject);
        assert_eq!(extensions.get::<Anonymous>().is_some(), subject.is_none());
        assert!(extensions.get::<Verified<Claims>>().is_none());
        assert_eq!(
            extensions.get::<Verified<Inner>>().is_some(),
            subject.is_some()
        );

        // Of three, the innermost counts as well.
        let verifier = fixture.builder().claims::<Third>().build().unwrap();
        let third = JwtAuthLayer::new(verifier)
            .extractor(Header::new(HeaderName::from_static("x-third")))
            .optional();
        let layers = ServiceBuilder::new()
            .layer(fixture.layer())
            .layer(layer)
            .layer(third);
        let answer = send(layers, request).await.passes("third");
        let extensions = &answer.seen().extensions;
        assert!(extensions.get::<Principal>().is_none());
        assert!(extensions.get::<Verified<Claims>>().is_none());
        assert!(extensions.get::<Verified<Inner>>().is_none());
    }
}

#[tokio::test]
async fn q9_a_handler_can_read_when_the_token_expires() {
    let fixture = Fixture::new();
    let answer = send(fixture.layer(), bearer(fixture.token()))
        .await
        .passes("token");
    let expected = fixture.now() + 600;
    let caller = answer.caller().expires_at().unwrap();
    assert_eq!(caller.as_secs(), expected);
    let token = answer.seen().extensions.get::<Verified<Claims>>().unwrap();
    assert_eq!(token.expires_at().unwrap().as_secs(), expected);

    let verifier = fixture
        .builder()
        .dangerous_optional_expiry()
        .build()
        .unwrap();
    let answer = send(JwtAuthLayer::new(verifier), bearer(fixture.without("exp"))).await;
    assert!(answer.passes("never").caller().expires_at().is_none());
}

/// What is wrong with a token, in the order in which it must be found.
const ORDER: [AuthErrorKind; 14] = [
    AuthErrorKind::OversizedCredential,
    AuthErrorKind::MalformedToken,
    AuthErrorKind::MalformedHeader,
    AuthErrorKind::AlgorithmNotAllowed,
    AuthErrorKind::WrongType,
    AuthErrorKind::UnknownKey,
    AuthErrorKind::InvalidSignature,
    AuthErrorKind::MalformedClaims,
    AuthErrorKind::WrongIssuer,
    AuthErrorKind::Expired,
    AuthErrorKind::WrongAudience,
    AuthErrorKind::WrongUse,
    AuthErrorKind::SenderConstrained,
    AuthErrorKind::Rejected,
];

/// A token with all of these faults.
fn faulty(fixture: &Fixture, faults: &[AuthErrorKind]) -> String {
    let has = |kind: AuthErrorKind| faults.contains(&kind);
    let header = fixture.header(|header: &mut Map<String, Value>| {
        if has(AuthErrorKind::AlgorithmNotAllowed) {
            header.insert("alg".into(), json!("HS256"));
        }
        if has(AuthErrorKind::WrongType) {
            header.insert("typ".into(), json!("logout+jwt"));
        }
        if has(AuthErrorKind::UnknownKey) {
            header.insert("kid".into(), json!("unknown"));
        }
        if has(AuthErrorKind::MalformedHeader) {
            header.insert("typ".into(), json!(5));
        }
    });
    let claims = fixture.payload(|claims| {
        let mut set = |kind, claim: &str, value| {
            if has(kind) {
                claims.insert(claim.into(), value);
            }
        };
        set(AuthErrorKind::MalformedClaims, "jti", json!(5));
        set(
            AuthErrorKind::WrongIssuer,
            "iss",
            json!("https://evil.example"),
        );
        set(AuthErrorKind::Expired, "exp", json!(0));
        set(AuthErrorKind::WrongAudience, "aud", json!(["other"]));
        set(AuthErrorKind::WrongUse, "typ", json!("Refresh"));
        set(AuthErrorKind::SenderConstrained, "cnf", json!({"jkt": "x"}));
        set(
            AuthErrorKind::OversizedCredential,
            "x",
            json!("x".repeat(20_000)),
        );
    });
    let mut token = fixture.es.raw(&header, claims.as_bytes());
    if has(AuthErrorKind::InvalidSignature) {
        token.truncate(token.len() - 4);
        token.push_str("AAAA");
    }
    if has(AuthErrorKind::MalformedToken) {
        token.push_str(".x");
    }
    token
}

#[tokio::test]
async fn q10_the_first_fault_in_the_order_of_the_checks_decides() {
    let fixture = Fixture::new();
    let keys = Counting::new();
    let layer = || {
        let builder = fixture
            .expecting(Verifier::key_source(keys.clone()))
            .validate_with(|_| Err(CheckError::rejected("last")));
        JwtAuthLayer::new(builder.build().unwrap())
    };
    for first in 0..ORDER.len() {
        let token = faulty(&fixture, &ORDER[first..]);
        let answer = send(layer(), bearer(token)).await;
        assert_eq!(answer.kind(), Some(ORDER[first]));
        assert!(!answer.ran());
        // Nothing is asked of the source before size, form, algorithm and type have passed.
        let asked = keys.asked().len();
        assert_eq!(asked, usize::from(first > 4), "{:?}", ORDER[first]);

        // And alone, each fault is found.
        let answer = send(layer(), bearer(faulty(&fixture, &ORDER[first..=first]))).await;
        assert_eq!(answer.kind(), Some(ORDER[first]));
        keys.asked();
    }
}

#[tokio::test]
async fn q2_of_two_layers_the_inner_one_replaces_what_the_outer_found() {
    let fixture = Fixture::new();
    let (outer, inner) = (
        fixture.layer().realm("outer"),
        fixture.layer().realm("inner"),
    );
    let own = |layer: JwtAuthLayer| {
        let name = HeaderName::from_static("x-assertion");
        layer.extractor(Header::new(name))
    };
    let with = |second: &str| {
        let mut request = bearer(fixture.token());
        let value = HeaderValue::from_str(second).unwrap();
        request.headers_mut().insert("x-assertion", value);
        request
    };
    let stack = |inner: JwtAuthLayer| ServiceBuilder::new().layer(outer.clone()).layer(inner);
    let bob = fixture.with("sub", json!("bob"));
    let answer = send(stack(own(inner.clone())), with(&bob))
        .await
        .passes("both");
    assert_eq!(answer.caller().subject(), Some("bob"));
    let extensions = &answer.seen().extensions;
    assert_eq!(
        extensions.get::<Verified<Claims>>().unwrap().subject(),
        Some("bob")
    );
    assert!(extensions.get::<Anonymous>().is_none());

    // The inner one found nobody, so nobody it is.
    let optional = own(inner.clone()).optional();
    let answer = send(stack(optional), bearer(fixture.token()))
        .await
        .passes("nobody");
    let extensions = &answer.seen().extensions;
    assert!(extensions.get::<Principal>().is_none());
    assert!(extensions.get::<Verified<Claims>>().is_none());
    assert!(extensions.get::<Anonymous>().is_some());

    let answer = send(stack(own(inner.clone())), with("a.b.c"))
        .await
        .invalid_token("inner");
    assert_eq!(answer.challenge().get("realm"), Some("inner"));
    let answer = send(stack(inner), bearer("a.b.c"))
        .await
        .invalid_token("outer");
    assert_eq!(answer.challenge().get("realm"), Some("outer"));

    // A refused outer layer, optional or not, keeps the inner one from running.
    let optional = fixture.layer().optional();
    let layers = ServiceBuilder::new().layer(optional).layer(fixture.layer());
    send(layers, Request::new(String::new()))
        .await
        .bare("inner requires");
}
