//! Protocols that no peer implements: their sources contain none of their terms, such as the header field `DPoP`,
//! `introspection` or `logout_token`.

use std::convert::Infallible;

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use http_body_util::Full;
use serde_json::{Map, Value, json};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::{Algorithm, KeySet},
    layer::{
        dpop::Dpop,
        logout::BackChannelLogout,
        mcp::{McpBody, McpGuardLayer},
        mtls::Mtls,
        peer::PeerCertificate,
        role_guard::Rule,
    },
    revocation::RevocationSet,
    test_util::{DpopClient, IntrospectionFixture, TestIssuer, TestKeys},
    verify::introspection::Introspection,
};

use super::{
    Case, Outcome,
    client::{Answer, Client},
};
use crate::{
    floor::Handler,
    harness::{KID, now},
    peer::{Layered, Peer},
    peers::Ours,
    setup::{AUDIENCE, ISSUER, RUNTIME, bearer, jwk, jwks, lax_token, request},
};

pub(super) fn cases<P: Peer>() -> Vec<Case> {
    let case = |name, expected, outcome: fn() -> Outcome, missing| match P::NAME == Ours::NAME {
        true => (name, expected, outcome()),
        false => (name, expected, Outcome::Absent(missing)),
    };
    vec![
        case(
            "token bound to a key, with its proof (RFC 9449)",
            "served, a repeated proof refused",
            proven,
            "has no proofs",
        ),
        case(
            "token bound to a certificate, with it (RFC 8705)",
            "served, with another one refused",
            certified,
            "reads no certificates",
        ),
        case(
            "opaque token (RFC 7662)",
            "served, an inactive one refused",
            introspected,
            "has no introspection",
        ),
        case(
            "MCP: a tool call without its scope",
            "403 with `insufficient_scope`",
            guarded,
            "reads no messages",
        ),
        case(
            "logout at the provider (OpenID Connect Back-Channel Logout)",
            "tokens of the session refused",
            logged_out,
            "receives no logout tokens",
        ),
    ]
}

fn proven() -> Outcome {
    let client = DpopClient::new(Algorithm::Es256);
    let dpop = Dpop::at("https://api.example").build();
    let server = served(JwtAuthLayer::new(verifier()).dpop(dpop.expect("an origin")));
    let token = bound("jkt", client.thumbprint());
    let call = client.sign(Request::get("/"), "https://api.example/", &token);
    let call = call.body(()).expect("a request");
    let [first, again] = [call.clone(), call].map(|call| server.send(call));
    first_only(&first, &again)
}

fn certified() -> Outcome {
    let mtls = Mtls::peer().build().expect("the settings fit together");
    let server = served(JwtAuthLayer::new(verifier()).mtls(mtls));
    let own = PeerCertificate::from_der(*b"a certificate that TLS has verified");
    let token = bound("x5t#S256", &own.thumbprint().expect("a digest"));
    let other = PeerCertificate::from_der(*b"another one");
    let [own, other] = [own, other].map(|certificate| {
        let mut call = request(&bearer(&token));
        call.extensions_mut().insert(certificate);
        server.send(call)
    });
    first_only(&own, &other)
}

fn introspected() -> Outcome {
    let issuer = IntrospectionFixture::start();
    issuer.activate("opaque", json!({ "aud": AUDIENCE, "exp": now() + 3600 }));
    let endpoint = Introspection::discovered().basic("orders", "a secret");
    let _inside = RUNTIME.enter();
    let verifier = Verifier::oidc(&issuer.issuer())
        .audience(AUDIENCE)
        .introspection(endpoint)
        .build();
    let server = served(JwtAuthLayer::new(verifier.expect("an issuer on loopback")));
    let [active, other] = ["opaque", "unknown"].map(|token| server.send_token(token));
    first_only(&active, &other)
}

fn guarded() -> Outcome {
    let guard = McpGuardLayer::builder()
        .tool("read", Rule::scope("orders:read"))
        .tool("write", Rule::scope("orders:write"))
        .build();
    let server = ServiceBuilder::new()
        .layer(JwtAuthLayer::new(verifier()))
        .layer(guard.expect("the rules fit together"))
        .service(service_fn(|_: Request<McpBody<Full<Bytes>>>| async {
            Ok::<_, Infallible>(Response::new(String::new()))
        }));
    let [read, write] = ["read", "write"].map(|tool| {
        let message = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": tool } });
        let mut call = request(&bearer(&token(|_| ()))).map(|()| Full::from(message.to_string()));
        let json = HeaderValue::from_static("application/json");
        *call.method_mut() = Method::POST;
        call.headers_mut().insert(CONTENT_TYPE, json);
        answer(server.clone(), call)
    });
    let challenge = write.header(WWW_AUTHENTICATE.as_str()).unwrap_or_default();
    let says = write.is(StatusCode::FORBIDDEN) && challenge.contains("insufficient_scope");
    Outcome::of(read.is(StatusCode::OK) && says, || {
        format!("allowed {}, not allowed {}", read.shown(), write.shown())
    })
}

fn logged_out() -> Outcome {
    let (verifier, revoked) = (verifier(), RevocationSet::local().of_issuer(ISSUER));
    let logout = BackChannelLogout::new(&verifier, "shop-web", &revoked).expect("one issuer");
    let server = served(JwtAuthLayer::new(verifier).revocation(revoked));
    let [ended, other] = ["s1", "s2"].map(|session| {
        token(|claims| {
            claims.insert("sid".into(), session.into());
        })
    });
    let before = server.send_token(&ended);

    let header = json!({ "alg": "RS256", "typ": "logout+jwt", "kid": KID });
    let claims = json!({
        "iss": ISSUER, "aud": "shop-web", "iat": now(), "exp": now() + 120, "jti": "l1", "sid": "s1",
        "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
    });
    let issuer = TestIssuer::with_keys(Algorithm::Rs256, TestKeys::new());
    let message = issuer.raw(&header.to_string(), claims.to_string().as_bytes());
    let call = Request::post("/backchannel-logout")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::<Bytes>::from(format!("logout_token={message}")));
    let received = answer(logout, call.expect("a request"));

    let [after, other] = [ended, other].map(|token| server.send_token(&token));
    let served = [&before, &received, &other]
        .iter()
        .all(|one| one.is(StatusCode::OK));
    Outcome::of(served && after.is_refusal(), || {
        format!("the logout {}, then {}", received.shown(), after.shown())
    })
}

fn first_only(first: &Answer, second: &Answer) -> Outcome {
    Outcome::of(first.is(StatusCode::OK) && second.is_refusal(), || {
        format!("{}, then {}", first.shown(), second.shown())
    })
}

fn served<L>(layer: L) -> Client<L::Service>
where
    L: Layer<Handler<()>, Service: Layered>,
{
    Client::new(layer.layer(Handler(|| ())))
}

/// Sends a request with a body.
fn answer<S, B>(service: S, call: Request<Full<Bytes>>) -> Answer
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
{
    let Ok(response) = RUNTIME.block_on(service.oneshot(call));
    Answer::Head(response.status(), response.headers().clone())
}

fn verifier() -> Verifier {
    let key = jwk(TestKeys::new(), Algorithm::Rs256, KID);
    let keys = KeySet::from_jwks(&jwks([key])).expect("a key set");
    let rules = Verifier::key_set(keys).issuer(ISSUER).audience(AUDIENCE);
    rules.build().expect("the settings fit together")
}

fn bound(member: &str, thumbprint: &str) -> String {
    token(|claims| {
        claims.insert("cnf".into(), json!({ member: thumbprint }));
    })
}

fn token(edit: impl FnOnce(&mut Map<String, Value>)) -> String {
    lax_token(TestKeys::new(), KID, |_, claims| edit(claims))
}
