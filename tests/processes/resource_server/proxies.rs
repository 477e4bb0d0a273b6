//! The proxy of the environment: D46.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use tower_jwt_auth::test_util::{Answer, JwksFixture, TestKeys};

use super::network::{becomes, becomes_ready, decided, token};
use crate::support::{
    process::Server,
    tls_server::Authority,
    vars::{AUDIENCE, File, ISSUER},
};

/// A proxy that makes a tunnel to one server, whatever it is asked for.
struct Proxy {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    fn to(url: &str) -> Self {
        let port = url.rsplit_once(':').unwrap().1.split('/').next().unwrap();
        let target = format!("127.0.0.1:{port}");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            address: listener.local_addr().unwrap().to_string(),
            asked: Arc::default(),
        };
        let asked = Arc::clone(&proxy.asked);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (asked, target) = (Arc::clone(&asked), target.clone());
                thread::spawn(move || tunnel(client.unwrap(), &target, &asked));
            }
        });
        proxy
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn tunnel(mut client: TcpStream, target: &str, asked: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read_exact(&mut byte).is_err() {
            return;
        }
        head.push(byte[0]);
    }
    asked.lock().unwrap().push(String::from_utf8(head).unwrap());
    let mut server = TcpStream::connect(target).unwrap();
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .unwrap();
    let (mut back_to, mut back_from) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut back_from, &mut back_to);
        let _ = back_to.shutdown(Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Write);
}

fn start(pairs: &[(&str, &str)]) -> Server {
    let expected = [
        ("JWT_ISSUER", ISSUER),
        ("JWT_AUDIENCE", AUDIENCE),
        ("JWT_JWKS_TIMEOUT_SECONDS", "60"),
    ];
    super::start(&[&expected[..], pairs].concat())
}

#[tokio::test]
async fn d46_an_https_key_server_is_reached_through_a_tunnel() {
    let authority = Authority::new();
    let roots = File::new(&authority.pem);
    for (host, variable, reason) in [
        ("idp.invalid", "HTTPS_PROXY", None),
        ("idp.invalid", "https_proxy", None),
        ("idp.invalid", "ALL_PROXY", None),
        // TLS is to the key server, within the tunnel.
        ("other.invalid", "HTTPS_PROXY", Some("certificate_refused")),
    ] {
        let proxy = Proxy::to(&authority.server(host, |_| ()));
        let server = start(&[
            (variable, &format!("http://user:s3cr3t@{}", proxy.address)),
            ("JWT_JWKS_URL", "https://idp.invalid/jwks"),
            ("JWT_JWKS_CA_FILE", roots.path()),
        ]);
        match reason {
            Some(reason) => drop(becomes(&server, reason).await),
            None => {
                becomes_ready(&server).await;
                let token = token(TestKeys::new(), ISSUER);
                let answer = decided(&server, "/protected", Some(&token)).await;
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
        let asked = proxy.asked().remove(0);
        assert!(
            asked.starts_with("CONNECT idp.invalid:443 HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.contains("Basic dXNlcjpzM2NyM3Q="), "{asked}");
        let log = server.stop();
        assert!(
            !log.contains("s3cr3t") && !log.contains("dXNlcjpzM2NyM3Q"),
            "{log}"
        );
    }
}

#[tokio::test]
async fn d46_a_plain_http_key_server_is_asked_for_at_the_proxy() {
    let proxy = JwksFixture::start();
    let url = "http://keys.invalid/jwks";
    proxy.answer_at(url, Answer::json(TestKeys::new().jwks()));
    let server = start(&[
        (
            "HTTP_PROXY",
            &proxy.issuer().replace("//", "//user:s3cr3t@"),
        ),
        ("JWT_JWKS_URL", url),
        ("JWT_JWKS_ALLOW_HTTP", "true"),
    ]);
    becomes_ready(&server).await;
    let credentials = proxy.header_at(url, "proxy-authorization");
    assert_eq!(credentials.as_deref(), Some("Basic dXNlcjpzM2NyM3Q="));
    assert_eq!(
        proxy.header_at(url, "host").as_deref(),
        Some("keys.invalid")
    );
    let log = server.stop();
    assert!(!log.contains("s3cr3t"), "{log}");
}

#[tokio::test]
async fn d46_no_proxy_and_loopback_are_reached_directly() {
    let (proxy, published) = (JwksFixture::start(), JwksFixture::start());
    let through = proxy.issuer();
    let all = [
        ("HTTPS_PROXY", through.as_str()),
        ("HTTP_PROXY", &through),
        ("ALL_PROXY", &through),
    ];
    let own = published.url();
    let server = start(&[&all[..], &[("JWT_JWKS_URL", own.as_str())]].concat());
    becomes_ready(&server).await;
    assert_eq!(published.hits(), 1);
    for no_proxy in ["idp.invalid", ".invalid", "*", "example.com, invalid"] {
        let server = start(
            &[
                &all[..],
                &[
                    ("JWT_JWKS_URL", "http://idp.invalid/jwks"),
                    ("JWT_JWKS_ALLOW_HTTP", "true"),
                    ("NO_PROXY", no_proxy),
                ],
            ]
            .concat(),
        );
        becomes(&server, "name_not_resolved").await;
    }
    assert_eq!(proxy.all_hits(), 0);
}

#[tokio::test]
async fn d46_a_proxy_that_refuses_or_is_down_is_a_reason_of_its_own() {
    let proxy = JwksFixture::start();
    proxy.answer_at("idp.invalid:443", Answer::status(407));
    let roots = File::new(Authority::new().pem);
    let credentials = proxy.issuer().replace("//", "//user:s3cr3t@");
    let socks = credentials.replace("http:", "socks5:");
    for through in [credentials.as_str(), &socks] {
        let server = start(&[
            ("HTTPS_PROXY", through),
            ("JWT_JWKS_URL", "https://idp.invalid/jwks"),
            ("JWT_JWKS_CA_FILE", roots.path()),
        ]);
        becomes(&server, "proxy_failed").await;
        let log = server.stop();
        assert!(log.contains("proxy_failed"), "{log}");
        assert!(!log.contains("s3cr3t"), "{log}");
    }
    assert_eq!(proxy.all_hits(), proxy.hits_at("idp.invalid:443"));
    proxy.down();
    let server = start(&[
        ("HTTPS_PROXY", &credentials),
        ("JWT_JWKS_URL", "https://idp.invalid/jwks"),
        ("JWT_JWKS_CA_FILE", roots.path()),
    ]);
    becomes(&server, "proxy_failed").await;
}
