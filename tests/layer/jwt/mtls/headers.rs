//! Certificates in the header fields of proxies: H6.

use std::net::SocketAddr;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderName, Request, StatusCode};
use tower_jwt_auth::{
    ConfigError,
    error::AuthErrorKind,
    layer::{
        extract::RequestHead,
        mtls::{CertificateHeader, Mtls},
        peer::PeerCertificate,
    },
};

use super::{PROXY, World, ask, certificate, from, on_connection, with_values};
use crate::support::{
    answer::Answer,
    fixture::bearer,
    request::{nobody, with},
};

const ALL: [CertificateHeader; 4] = [
    CertificateHeader::ClientCert,
    CertificateHeader::Xfcc,
    CertificateHeader::Nginx,
    CertificateHeader::HaProxy,
];

/// The value of a header field with this certificate.
fn value(header: CertificateHeader, certificate: &PeerCertificate) -> String {
    let base64 = STANDARD.encode(certificate.der());
    match header {
        CertificateHeader::ClientCert => format!(":{base64}:"),
        CertificateHeader::HaProxy => base64,
        CertificateHeader::Nginx => escaped(&pem(&base64)),
        _ => format!(
            r#"By=spiffe://a/b;Hash=00ff;Cert="{}";Subject="CN=a\",b;Cert=c";URI="#,
            escaped(&pem(&base64))
        ),
    }
}

fn pem(base64: &str) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
}

/// The text as nginx and Envoy escape it.
fn escaped(pem: &str) -> String {
    let escape = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    pem.bytes().map(escape).collect()
}

impl World {
    /// A request of the client, as the proxy forwards it.
    fn forwarded(&self, header: CertificateHeader) -> Request<String> {
        let value = value(header, &self.certificate);
        self.with(header, &[&value])
    }

    fn with(&self, header: CertificateHeader, values: &[&str]) -> Request<String> {
        from(
            with_values(bearer(&self.token), header.name(), values),
            PROXY,
        )
    }
}

#[track_caller]
fn malformed(answer: Answer, case: &str) {
    answer
        .invalid_request(case)
        .because(AuthErrorKind::MalformedCertificate);
}

#[tokio::test]
async fn h6_the_configured_header_of_a_trusted_proxy_is_read() {
    let world = World::new();
    for header in ALL {
        let layer = world.behind(header);
        let case = format!("{header:?}");
        ask(&layer, world.forwarded(header)).await.passes(&case);
        let other = value(header, &certificate("another"));
        ask(&layer, world.with(header, &[&other]))
            .await
            .invalid_token(&case)
            .because(AuthErrorKind::WrongCertificate);
        for none in [&[][..], &[""], &["  "]] {
            ask(&layer, world.with(header, none))
                .await
                .invalid_token(&case)
                .because(AuthErrorKind::SenderConstrained);
        }
    }
}

#[tokio::test]
async fn h6_a_peer_that_is_no_trusted_proxy_cannot_claim_a_certificate() {
    let world = World::new();
    for header in ALL {
        let layer = world.behind(header);
        for peer in [
            "10.0.0.8",
            "127.0.0.1",
            "::1",
            "::ffff:10.0.0.8",
            "192.0.2.1",
        ] {
            // Whatever the client says about its way.
            let request = with(world.forwarded(header), "x-forwarded-for", PROXY);
            let request = with(request, "forwarded", &format!("for={PROXY}"));
            let answer = ask(&layer, from(request, peer)).await;
            answer
                .invalid_token(peer)
                .because(AuthErrorKind::SenderConstrained);
            // Ignored is not refused: neither two values nor a malformed one.
            let request = world.with(header, &["%", ",,"]);
            ask(&layer, from(request, peer))
                .await
                .invalid_token(peer)
                .because(AuthErrorKind::SenderConstrained);
            let unbound = with_values(bearer(world.fixture.token()), header.name(), &["%", "%"]);
            ask(&layer, from(unbound, peer)).await.passes(peer);
        }
        let mapped = from(world.forwarded(header), "::ffff:10.0.0.7");
        ask(&layer, mapped).await.passes("an IPv4-mapped address");
    }
    let network = Mtls::behind(["192.0.2.1", "10.0.0.0/8"], CertificateHeader::HaProxy);
    let layer = world.layer_with(network);
    let request = world.forwarded(CertificateHeader::HaProxy);
    ask(&layer, from(request, "10.9.9.9"))
        .await
        .passes("a network");
}

#[tokio::test]
async fn h6_no_other_header_is_read() {
    let world = World::new();
    let names = [
        "client-cert",
        "x-forwarded-client-cert",
        "x-client-cert",
        "x-ssl-client-der",
    ];
    assert_eq!(ALL.map(|header| header.name().as_str()), names);
    let others = [
        "ssl-client-cert",
        "x-ssl-client-cert",
        "x-forwarded-tls-client-cert",
    ];
    for header in ALL {
        let layer = world.behind(header);
        for form in ALL {
            let value = value(form, &world.certificate);
            for name in names.into_iter().chain(others) {
                if name == header.name().as_str() {
                    continue;
                }
                let name = HeaderName::from_static(name);
                let request = with_values(bearer(&world.token), &name, &[&value, &value]);
                ask(&layer, from(request, PROXY))
                    .await
                    .invalid_token(name.as_str())
                    .because(AuthErrorKind::SenderConstrained);
            }
        }
        // The connection of the proxy may have a certificate of its own.
        let request = on_connection(bearer(&world.token), &world.certificate);
        ask(&layer, from(request, PROXY))
            .await
            .because(AuthErrorKind::SenderConstrained);
    }
    // A server that ends TLS itself reads none.
    for header in ALL {
        let answer = ask(&world.layer(), world.forwarded(header)).await;
        answer.because(AuthErrorKind::SenderConstrained);
    }
}

#[tokio::test]
async fn h6_two_values_or_two_elements_are_an_invalid_request() {
    let world = World::new();
    for header in ALL {
        let layer = world.behind(header);
        let good = value(header, &world.certificate);
        let other = value(header, &certificate("another"));
        for (case, values) in [
            ("two lines", vec![good.clone(), other.clone()]),
            ("the same twice", vec![good.clone(), good.clone()]),
            ("an empty one", vec![good.clone(), String::new()]),
            ("an empty one first", vec![String::new(), good.clone()]),
            ("a list", vec![format!("{good}, {other}")]),
            ("a list without space", vec![format!("{other},{good}")]),
            ("a comma", vec![format!("{good},")]),
            ("a comma first", vec![format!(",{good}")]),
        ] {
            let values: Vec<_> = values.iter().map(String::as_str).collect();
            let case = format!("{header:?}: {case}");
            malformed(ask(&layer, world.with(header, &values)).await, &case);
            // Also beside a token that needs no certificate.
            let unbound = with_values(bearer(world.fixture.token()), header.name(), &values);
            malformed(ask(&layer, from(unbound, PROXY)).await, &case);
        }
        // Without a token there is nothing to prove.
        let nothing = with_values(nobody(), header.name(), &[&good, &good]);
        ask(&layer, from(nothing, PROXY))
            .await
            .because(AuthErrorKind::MissingCredential);
    }
}

#[tokio::test]
async fn h6_a_malformed_value_is_an_invalid_request() {
    let world = World::new();
    let base64 = STANDARD.encode(world.certificate.der());
    let good = escaped(&pem(&base64));
    let twice = escaped(&format!("{}{}", pem(&base64), pem(&base64)));
    let cut = &good[..good.len() - 30];
    let key = escaped(&pem(&base64).replace("CERTIFICATE", "PUBLIC KEY"));
    for (header, values) in [
        (
            CertificateHeader::ClientCert,
            vec![
                base64.clone(),
                format!(":{base64}"),
                format!("{base64}:"),
                format!("\"{base64}\""),
                format!(":{base64}:;a=1"),
                ":!:".to_owned(),
                "::".to_owned(),
                ":".to_owned(),
                good.clone(),
            ],
        ),
        (
            CertificateHeader::HaProxy,
            vec![
                format!(":{base64}:"),
                good.clone(),
                "!".to_owned(),
                "=".to_owned(),
            ],
        ),
        (
            CertificateHeader::Nginx,
            vec![
                base64.clone(),
                twice.clone(),
                cut.to_owned(),
                key.clone(),
                good.replace("%0A", "%"),
                good.replace("%0A", "%0"),
                good.replace("%0A", "%zz"),
                format!("{good}x"),
                escaped("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"),
                "%FF".to_owned(),
            ],
        ),
        (
            CertificateHeader::Xfcc,
            vec![
                good.clone(),
                "Cert".to_owned(),
                format!("Cert=\"{good}"),
                format!("Cert=\"{good}\"x"),
                format!("Cert=\"{good}\";"),
                format!("Cert=\"{twice}\""),
                format!("Cert=\"{cut}\""),
                format!("Cert=\"{key}\""),
                format!("Cert=x\"{good}\""),
                format!("Cert=\"{good}\";Cert=\"{good}\""),
                format!("Cert=\"{good}\";cert=\"{good}\""),
                "Cert=".to_owned(),
                "Cert=\"\"".to_owned(),
            ],
        ),
    ] {
        let layer = world.behind(header);
        for value in values {
            malformed(ask(&layer, world.with(header, &[&value])).await, &value);
        }
    }
}

#[tokio::test]
async fn h6_the_forms_have_the_freedom_of_their_definitions() {
    let world = World::new();
    let base64 = STANDARD.encode(world.certificate.der());
    let bare = base64.trim_end_matches('=');
    let lines = escaped(&pem(&format!("{}\n{}", &base64[..4], &base64[4..])));
    let envoy = pem(&base64).replace('\n', "%0A").replace(' ', "%20");
    for (header, value) in [
        // RFC 8941 §4.2.7: padding may be missing.
        (CertificateHeader::ClientCert, format!(":{bare}:")),
        (CertificateHeader::Nginx, lines.clone()),
        (CertificateHeader::Xfcc, format!("cert={envoy}")),
        (
            CertificateHeader::Xfcc,
            format!("Hash=0;CERT=\"{lines}\";DNS=a;DNS=b"),
        ),
        (
            CertificateHeader::Xfcc,
            format!(r#"Subject="a\\";Chain="x,y;Cert=z";Cert="{lines}""#),
        ),
    ] {
        let layer = world.behind(header);
        ask(&layer, world.with(header, &[&value]))
            .await
            .passes(&value);
    }
    // An element without the certificate, as Envoy sends it unless it is configured.
    let layer = world.behind(CertificateHeader::Xfcc);
    let value = "By=spiffe://a/b;Hash=00ff;Chain=\"x\"";
    ask(&layer, world.with(CertificateHeader::Xfcc, &[value]))
        .await
        .because(AuthErrorKind::SenderConstrained);
}

#[tokio::test]
async fn h6_without_the_address_of_the_peer_the_layer_is_misconfigured() {
    let world = World::new();
    let header = CertificateHeader::Nginx;
    let mut request = world.forwarded(header);
    request.extensions_mut().clear();
    let answer = ask(&world.behind(header), request.clone()).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.ran());
    answer.because(AuthErrorKind::Misconfigured);
    // A host that keeps it elsewhere.
    let peer: SocketAddr = "10.0.0.7:1".parse().unwrap();
    let rules = Mtls::behind([PROXY], header).peer_from(move |_| Some(peer));
    ask(&world.layer_with(rules), request.clone())
        .await
        .passes("peer_from");
    let rules = Mtls::peer().certificate_from(|_| Some(certificate("the client")));
    ask(&world.layer_with(rules), request)
        .await
        .passes("certificate_from");
}

#[test]
fn h6_settings_that_trust_every_peer_or_none_are_refused() {
    let refusal = |error: Result<Mtls, ConfigError>| error.unwrap_err().to_string();
    let behind = |proxies: &[&'static str]| {
        Mtls::behind(proxies.iter().copied(), CertificateHeader::Nginx).build()
    };
    for (proxies, expected) in [
        (&[][..], "none is named"),
        (&["0.0.0.0/0"], "every address is one"),
        (&["10.0.0.1", "::/0"], "every address is one"),
        (&["proxy.example"], "neither an address nor a network"),
        (&["10.0.0.1/33"], "neither an address nor a network"),
    ] {
        let refused = refusal(behind(proxies));
        assert!(refused.contains(expected), "{refused}");
    }
    assert!(behind(&["10.0.0.1", "fd00::/8"]).is_ok());
    let peer: SocketAddr = "10.0.0.7:1".parse().unwrap();
    let mixed = Mtls::peer().peer_from(move |_| Some(peer)).build();
    assert!(refusal(mixed).starts_with("peer_from: "));
    let mixed = Mtls::behind([PROXY], CertificateHeader::Nginx)
        .certificate_from(|_| None)
        .build();
    assert!(refusal(mixed).starts_with("certificate_from: "));
}

#[tokio::test]
async fn h6_behind_a_gateway_the_certificate_is_not_that_of_the_connection() {
    let world = World::new();
    let refused = world.layer().gateway().build().unwrap_err().to_string();
    assert!(refused.starts_with("mtls: "), "{refused}");
    let header = CertificateHeader::Nginx;
    let layer = world.behind(header).gateway().build().unwrap();
    ask(&layer, world.forwarded(header))
        .await
        .passes("a gateway");
    let good = value(header, &world.certificate);
    // A gateway takes 400 for a failure of this server.
    let answer = ask(&layer, world.with(header, &[&good, &good])).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn h6_a_layer_that_strips_the_credential_strips_the_certificate() {
    let world = World::new();
    for header in ALL {
        let layer = world.behind(header).strip_credential();
        let answer = ask(&layer, world.forwarded(header)).await.passes("strip");
        let seen = &answer.seen().headers;
        assert!(!seen.contains_key(header.name()) && !seen.contains_key("authorization"));
        let answer = ask(&world.behind(header), world.forwarded(header)).await;
        assert!(answer.seen().headers.contains_key(header.name()));
    }
    let head = world.forwarded(CertificateHeader::Nginx);
    assert!(!format!("{:?}", RequestHead::of(&head)).contains("BEGIN"));
}
