//! Certificates: a private CA, and those that must not be trusted.

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tower_jwt_auth::{
    error::KeyProblem,
    key::remote::{RemoteKeySet, RemoteKeySetBuilder},
    test_util::JwksFixture,
};

use crate::support::{
    remote::{LONG, succeeds},
    tls_server::{Authority, serve},
};

fn keys(url: &str) -> RemoteKeySetBuilder {
    RemoteKeySet::jwks(url).timeout(LONG).wait(LONG)
}

#[tokio::test]
async fn a_server_of_a_private_ca_is_trusted_where_its_ca_is_named() {
    let authority = Authority::new();
    let url = authority.server("localhost", |_| ());
    assert!(succeeds(keys(&url).root_certificate(authority.pem.clone())).await);
    assert!(!succeeds(keys(&url)).await);

    // Several roots, each its own PEM or in one.
    let other = Authority::new();
    let several = keys(&url)
        .root_certificate(other.pem.clone())
        .root_certificate(authority.pem.clone());
    assert!(succeeds(several).await);
    let bundle = format!("{}{}", other.pem, authority.pem);
    assert!(succeeds(keys(&url).root_certificate(bundle)).await);
    // The named roots stand instead of others.
    assert!(!succeeds(keys(&url).root_certificate(other.pem)).await);
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let authority = Authority::new();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let url = serve(certificate.der().clone(), &key);
    assert!(!succeeds(keys(&url)).await);
    assert!(!succeeds(keys(&url).root_certificate(authority.pem)).await);
}

#[tokio::test]
async fn a_certificate_for_another_name_or_another_time_is_refused() {
    let authority = Authority::new();
    let year = rcgen::date_time_ymd;
    for url in [
        authority.server("as.example", |_| ()),
        authority.server("localhost", |params| params.not_after = year(2020, 1, 1)),
        authority.server("localhost", |params| params.not_before = year(2090, 1, 1)),
    ] {
        let refused = keys(&url).root_certificate(authority.pem.clone());
        assert!(!succeeds(refused).await, "{url}");
    }
}

#[tokio::test]
async fn https_is_never_downgraded_to_http() {
    let server = JwksFixture::start();
    let url = server.url().replace("http:", "https:");
    // A server without TLS waits for a line that never comes: nothing but the limit ends that.
    let limited = keys(&url).timeout(Duration::from_millis(500));
    assert!(!succeeds(limited).await);
    assert_eq!(server.hits(), 0);
}

#[tokio::test]
async fn d41_a_byte_order_mark_before_the_ca_file_is_ignored() {
    let authority = Authority::new();
    let url = authority.server("localhost", |_| ());
    let marked = format!("\u{FEFF}{}", authority.pem);
    assert!(succeeds(keys(&url).root_certificate(marked)).await);
}

async fn problem(builder: RemoteKeySetBuilder) -> KeyProblem {
    let keys = builder.build().unwrap();
    keys.ready().await.unwrap_err().problem()
}

#[tokio::test]
async fn d47_a_certificate_that_is_not_trusted_is_a_reason_of_its_own() {
    let authority = Authority::new();
    for url in [
        authority.server("localhost", |_| ()),
        Authority::new().server("as.example", |_| ()),
    ] {
        let keys = keys(&url).root_certificate(Authority::new().pem);
        assert_eq!(problem(keys).await, KeyProblem::Certificate);
    }
}

/// `openssl req -x509` makes a certificate that is its own authority, and says so.
#[tokio::test]
async fn d52_a_ca_certificate_as_a_server_certificate_is_refused_with_that_reason() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    let url = serve(certificate.der().clone(), &key);
    let refused = keys(&url).root_certificate(certificate.pem());
    assert_eq!(problem(refused).await, KeyProblem::CaCertificate);
    assert_eq!(
        KeyProblem::CaCertificate.as_str(),
        "ca_certificate_as_server_certificate"
    );
    // Without the file it is a stranger's certificate like any other.
    assert_ne!(problem(keys(&url)).await, KeyProblem::Pending);
}

#[tokio::test]
async fn d52_a_self_signed_server_certificate_is_accepted_as_its_own_ca_file() {
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = is_ca;
        let certificate = params.self_signed(&key).unwrap();
        let url = serve(certificate.der().clone(), &key);
        assert!(succeeds(keys(&url).root_certificate(certificate.pem())).await);
    }
}
