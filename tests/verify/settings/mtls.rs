//! The variables of tokens that are bound to the certificate of the client.

use std::{convert::Infallible, net::SocketAddr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer,
    key::Algorithm,
    layer::peer::{PeerAddr, PeerCertificate},
    test_util::TestIssuer,
};

use crate::support::vars::{AUDIENCE, ISSUER, SECRET, read, refusal};

fn layer(more: &[(&str, &str)]) -> JwtAuthLayer {
    let common = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
    ];
    read(&[&common, more].concat()).unwrap().layer().unwrap()
}

/// The status of a request from a peer, with a token and a header.
async fn ask(layer: &JwtAuthLayer, peer: &str, token: &str, header: (&str, &str)) -> StatusCode {
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let peer: SocketAddr = peer.parse().unwrap();
    let request = Request::get("/")
        .header("authorization", format!("Bearer {token}"))
        .header(header.0, header.1)
        .extension(PeerAddr(peer))
        .body(())
        .unwrap();
    let Ok(response) = service.oneshot(request).await;
    response.status()
}

#[tokio::test]
async fn h6_the_variables_name_the_header_and_the_proxies() {
    let certificate = PeerCertificate::from_der(*b"a certificate");
    let issuer = TestIssuer::new(Algorithm::Hs256);
    let (bound, plain) = (issuer.token_for(&certificate, |_| ()), issuer.token(|_| ()));
    let base64 = STANDARD.encode(certificate.der());
    let pem = format!(
        "-----BEGIN%20CERTIFICATE-----%0A{}%0A-----END%20CERTIFICATE-----%0A",
        base64.replace('=', "%3D")
    );
    for (form, name, value) in [
        ("client-cert", "client-cert", format!(":{base64}:")),
        (
            "xfcc",
            "x-forwarded-client-cert",
            format!("Hash=0;Cert=\"{pem}\""),
        ),
        ("nginx", "x-client-cert", pem.clone()),
        ("haproxy", "x-ssl-client-der", base64.clone()),
    ] {
        let header = (name, value.as_str());
        for (mode, of_plain) in [
            ("allowed", StatusCode::OK),
            ("required", StatusCode::UNAUTHORIZED),
        ] {
            let layer = layer(&[
                ("JWT_MTLS", mode),
                ("JWT_MTLS_HEADER", form),
                ("JWT_TRUSTED_PROXIES", "192.0.2.1, 10.0.0.0/8"),
            ]);
            for (peer, of_bound) in [
                ("10.1.2.3:4", StatusCode::OK),
                ("192.0.2.1:4", StatusCode::OK),
                ("192.0.2.2:4", StatusCode::UNAUTHORIZED),
                ("127.0.0.1:4", StatusCode::UNAUTHORIZED),
            ] {
                let case = format!("{form} {mode} {peer}");
                assert_eq!(ask(&layer, peer, &bound, header).await, of_bound, "{case}");
                assert_eq!(ask(&layer, peer, &plain, header).await, of_plain, "{case}");
            }
        }
    }
    // Off is the default, and refuses bound tokens.
    for off in [&[][..], &[("JWT_MTLS", "off")]] {
        let layer = layer(off);
        let header = ("x-ssl-client-der", base64.as_str());
        let status = ask(&layer, "10.1.2.3:4", &bound, header).await;
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        let status = ask(&layer, "10.1.2.3:4", &plain, header).await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[test]
fn h6_variables_that_do_not_fit_together_are_refused() {
    let (header, proxies) = (
        ("JWT_MTLS_HEADER", "nginx"),
        ("JWT_TRUSTED_PROXIES", "10.0.0.1"),
    );
    let on = ("JWT_MTLS", "allowed");
    for (vars, expected) in [
        (
            &[header][..],
            "JWT_MTLS_HEADER: has no effect without JWT_MTLS",
        ),
        (
            &[proxies],
            "JWT_TRUSTED_PROXIES: has no effect without JWT_MTLS",
        ),
        (
            &[("JWT_MTLS", "off"), header, proxies],
            "JWT_MTLS_HEADER: has no effect",
        ),
        (&[on], "JWT_MTLS: needs JWT_MTLS_HEADER"),
        (&[on, proxies], "JWT_MTLS: needs JWT_MTLS_HEADER"),
        (&[on, header], "JWT_MTLS: needs JWT_TRUSTED_PROXIES"),
        (
            &[("JWT_MTLS", "true"), header, proxies],
            "JWT_MTLS: `true` is none of",
        ),
        (
            &[("JWT_MTLS", "Required"), header, proxies],
            "JWT_MTLS: `Required` is none of",
        ),
        (
            &[on, ("JWT_MTLS_HEADER", "X-Client-Cert"), proxies],
            "JWT_MTLS_HEADER: `X-Client-Cert` is none of client-cert, xfcc, nginx, haproxy",
        ),
        (
            &[on, header, ("JWT_TRUSTED_PROXIES", "proxy.example")],
            "JWT_TRUSTED_PROXIES: `proxy.example` is neither an address nor a network",
        ),
        (
            &[on, header, ("JWT_TRUSTED_PROXIES", "10.0.0.1, 0.0.0.0/0")],
            "JWT_TRUSTED_PROXIES: every address is one",
        ),
        (
            &[on, header, ("JWT_TRUSTED_PROXIES", "10.0.0.1,")],
            "JWT_TRUSTED_PROXIES: an entry",
        ),
    ] {
        let secret = [("JWT_SECRET_KEY", SECRET)];
        let refused = refusal(&[&secret, vars].concat());
        assert!(refused.starts_with(expected), "{refused}");
    }
    let typo = [
        ("JWT_SECRET_KEY", SECRET),
        ("JWT_TRUSTED_PROXY", "10.0.0.1"),
    ];
    assert!(refusal(&typo).ends_with("did you mean JWT_TRUSTED_PROXIES?"));
}
