//! Certificates: a private CA, and those that must not be trusted.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tower_jwt_auth::{
    key::remote::{RemoteKeySet, RemoteKeySetBuilder},
    test_util::TestKeys,
};

use crate::support::LONG;

/// A certificate authority of our own.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// The URL of a server with a certificate for this host.
    fn server(&self, host: &str, edit: impl FnOnce(&mut CertificateParams)) -> String {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        edit(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        serve(certificate.der().clone(), &key)
    }
}

/// Publishes keys over TLS until the process ends.
fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> String {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}/jwks",
        listener.local_addr().unwrap().port()
    );
    thread::spawn(move || {
        for stream in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that refuses the certificate breaks the connection: that is the test.
            let _ = answer(StreamOwned::new(connection, stream.unwrap()));
        }
    });
    url
}

fn answer(mut stream: StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    stream.sock.set_read_timeout(Some(LONG))?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let body = TestKeys::new().jwks();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    stream.flush()?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn keys(url: &str) -> RemoteKeySetBuilder {
    RemoteKeySet::jwks(url).timeout(LONG).wait(LONG)
}

async fn succeeds(builder: RemoteKeySetBuilder) -> bool {
    builder.build().unwrap().ready().await.is_ok()
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
    let server = tower_jwt_auth::test_util::JwksFixture::start();
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
