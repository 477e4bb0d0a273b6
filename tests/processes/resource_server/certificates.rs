//! Certificates of clients through real proxies: H1, H3, H6.

use std::process::Stdio;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::Method;
use rcgen::{Certificate, KeyPair};
use serde_json::Value;
use tower_jwt_auth::{key::Algorithm, layer::peer::PeerCertificate, test_util::TestIssuer};

use super::start;
use crate::support::{
    process::Server,
    script::{NODE, run},
    tls_proxy::{HttpsClient, Kind, TlsProxy, certificate, client},
    tls_server::Authority,
    vars::{AUDIENCE, File, ISSUER, SECRET},
};

fn server(mode: &str, header: &str, proxies: &str) -> Server {
    start(&[
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_MTLS", mode),
        ("JWT_MTLS_HEADER", header),
        ("JWT_TRUSTED_PROXIES", proxies),
    ])
}

fn token(identity: &(Certificate, KeyPair)) -> String {
    let certificate = PeerCertificate::from_der(identity.0.der().as_ref());
    TestIssuer::new(Algorithm::Hs256).token_for(&certificate, |_| ())
}

async fn ask(proxy: &TlsProxy, client: &HttpsClient, headers: &[(&str, &str)]) -> u16 {
    let answer = proxy.send(client, Method::GET, "/protected", headers).await;
    answer.status
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn h6_nginx_forwards_the_certificate_of_its_client() {
    through(Kind::Nginx, "nginx", "x-client-cert").await;
}

#[tokio::test]
#[ignore = "needs HAProxy"]
async fn h6_haproxy_forwards_the_certificate_of_its_client() {
    through(Kind::HaProxy, "haproxy", "x-ssl-client-der").await;
}

#[tokio::test]
#[ignore = "needs Envoy"]
async fn h6_envoy_forwards_the_certificate_of_its_client() {
    through(Kind::Envoy, "xfcc", "x-forwarded-client-cert").await;
}

async fn through(kind: Kind, form: &str, name: &str) {
    let authority = Authority::new();
    let (own, other) = (
        certificate(&authority, "client.example"),
        certificate(&authority, "thief.example"),
    );
    let (bearer, plain) = (
        format!("Bearer {}", token(&own)),
        format!("Bearer {}", TestIssuer::new(Algorithm::Hs256).token(|_| ())),
    );
    let bound = ("authorization", bearer.as_str());
    let plain = ("authorization", plain.as_str());
    let (with_own, with_other, without) = (
        client(&authority, Some(&own)),
        client(&authority, Some(&other)),
        client(&authority, None),
    );
    // What the client would have to send to the server itself.
    let base64 = STANDARD.encode(own.0.der());
    let escaped = own
        .0
        .pem()
        .replace('\r', "")
        .replace('\n', "%0A")
        .replace('+', "%2B");
    let forged = match kind {
        Kind::Nginx => escaped,
        Kind::HaProxy => base64,
        Kind::Envoy => format!("Cert=\"{escaped}\""),
    };
    let forged = (name, forged.as_str());
    for (mode, of_plain) in [("allowed", 200), ("required", 401)] {
        let start = |_: &str| server(mode, form, "127.0.0.1");
        let proxy = TlsProxy::start(kind, &authority, true, start).await;
        for (case, client, headers, expected) in [
            ("its certificate", &with_own, &[bound][..], 200),
            ("another certificate", &with_other, &[bound], 401),
            ("no certificate", &without, &[bound], 401),
            ("another and a header", &with_other, &[bound, forged], 401),
            ("none and a header", &without, &[bound, forged], 401),
            ("its own and a header", &with_own, &[bound, forged], 200),
            ("a plain token", &without, &[plain], of_plain),
            ("a plain token with one", &with_own, &[plain], of_plain),
            ("no token", &with_own, &[], 401),
        ] {
            let status = ask(&proxy, client, headers).await;
            assert_eq!(status, expected, "{kind:?} {mode}: {case}");
        }
        // The proxy's own address is trusted, so this test is a proxy that forwards what clients send.
        let direct = &proxy.server;
        let answer = direct
            .send(Method::GET, "/protected", &[bound, forged], "")
            .await;
        assert_eq!(answer.status, 200, "{kind:?}: the same header by hand");
        let twice = [bound, forged, forged];
        let answer = direct.send(Method::GET, "/protected", &twice, "").await;
        assert_eq!(answer.status, 400, "{kind:?}: two values");
        let challenge = answer.header("www-authenticate").unwrap();
        assert!(challenge.contains("invalid_request"), "{challenge}");
    }
    // A server that trusts another address.
    let start = |_: &str| server("allowed", form, "10.0.0.1");
    let proxy = TlsProxy::start(kind, &authority, true, start).await;
    assert_eq!(ask(&proxy, &with_own, &[bound]).await, 401, "{kind:?}");
    assert_eq!(ask(&proxy, &with_own, &[plain]).await, 200, "{kind:?}");
}

#[tokio::test]
#[ignore = "needs nginx, and Node with oidc-provider"]
async fn h1_a_bound_token_of_oidc_provider_passes_with_its_certificate() {
    let authority = Authority::new();
    let (own, other) = (
        certificate(&authority, "client.example"),
        certificate(&authority, "thief.example"),
    );
    let file = File::new(own.0.pem());
    let script = "tests/processes/resource_server/certificates.mjs";
    let issued = run(NODE, &[script, file.path(), AUDIENCE], Stdio::null());
    let issued: Value = serde_json::from_str(&issued).unwrap();
    assert_eq!(issued["type"], "Bearer");
    let jwks = File::new(issued["jwks"].to_string());
    let issuer = issued["issuer"].as_str().unwrap();
    let start = |_: &str| {
        start(&[
            ("JWT_JWKS_FILE", jwks.path()),
            ("JWT_ISSUER", issuer),
            ("JWT_AUDIENCE", AUDIENCE),
            ("JWT_MTLS", "required"),
            ("JWT_MTLS_HEADER", "nginx"),
            ("JWT_TRUSTED_PROXIES", "127.0.0.1"),
        ])
    };
    let proxy = TlsProxy::start(Kind::Nginx, &authority, true, start).await;
    let bearer = format!("Bearer {}", issued["token"].as_str().unwrap());
    let bound = [("authorization", bearer.as_str())];
    for (identity, expected) in [(Some(&own), 200), (Some(&other), 401), (None, 401)] {
        let client = client(&authority, identity);
        assert_eq!(ask(&proxy, &client, &bound).await, expected);
    }
}

#[tokio::test]
async fn h6_the_example_reads_one_header_of_a_trusted_peer() {
    let certificate = PeerCertificate::from_der(*b"a certificate");
    let token = TestIssuer::new(Algorithm::Hs256).token_for(&certificate, |_| ());
    let base64 = STANDARD.encode(certificate.der());
    let structured = format!(":{base64}:");
    let bearer = format!("Bearer {token}");
    let bound = ("authorization", bearer.as_str());
    let header = ("client-cert", structured.as_str());
    let haproxy = ("x-ssl-client-der", base64.as_str());
    for (proxies, status, of_two) in [("127.0.0.0/8", 200, 400), ("10.0.0.1", 401, 401)] {
        let server = server("required", "client-cert", proxies);
        for (headers, expected) in [
            (&[bound, header][..], status),
            (&[bound, header, header], of_two),
            (&[bound, haproxy], 401),
            (&[bound], 401),
        ] {
            let answer = server.send(Method::GET, "/protected", headers, "").await;
            assert_eq!(answer.status, expected, "{proxies}: {headers:?}");
        }
    }
}
