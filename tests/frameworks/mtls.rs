//! Certificates of clients on real TLS connections: H3, H7.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::{
        WebSocketUpgrade,
        connect_info::{ConnectInfo, Connected},
    },
    routing::get,
    serve::{IncomingStream, Listener},
};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, request::Builder};
use http_body_util::{BodyExt, Full};
use hyper::client::conn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor, TlsConnector, client, rustls,
    rustls::{
        ClientConfig, RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName},
        server::WebPkiClientVerifier,
    },
    server,
};
use tonic::transport::{self, Identity, ServerTlsConfig, server::TcpIncoming};
use tonic_health::server::health_reporter;
use tower::{Layer, ServiceBuilder};
use tower_jwt_auth::{
    Claims, JwtAuthLayer, Principal, Verified,
    layer::{
        mtls::{CertificateHeader, Mtls, MtlsBuilder},
        peer::PeerCertificate,
    },
    warp::{authenticated, recover},
};
use warp::Filter;

use crate::support::{
    http_client::{Http, get as get_plain, raw},
    http_server::Server,
    tokens::{good, issuer, layer},
};

/// An authority, a server with a certificate, and a client with another one.
struct World {
    authority: Authority,
    client: Identified,
}

struct Authority {
    root: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
struct Identified {
    certificate: CertificateDer<'static>,
    pem: String,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            root: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    fn identified(&self, name: &str) -> Identified {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identified {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            key,
        }
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        roots
    }

    /// Asks clients for a certificate, and accepts those without one.
    fn acceptor(&self) -> TlsAcceptor {
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider())
                .allow_unauthenticated()
                .build()
                .unwrap();
        let (chain, key) = self.identified("localhost").chain();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config).into()
    }

    fn connector(&self, http: Http, identity: Option<&Identified>) -> TlsConnector {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots());
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = identity.chain();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![match http {
            Http::One => b"http/1.1".to_vec(),
            Http::Two => b"h2".to_vec(),
        }];
        Arc::new(config).into()
    }
}

impl Identified {
    fn chain(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        (vec![self.certificate.clone()], key)
    }

    /// A token that is bound to the certificate.
    fn token(&self) -> String {
        let certificate = PeerCertificate::from_der(self.certificate.as_ref());
        issuer().token_for(&certificate, |_| ())
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn bound(rules: MtlsBuilder) -> JwtAuthLayer {
    layer().mtls(rules.build().unwrap())
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let client = authority.identified("client.example");
        Self { authority, client }
    }

    async fn connect(
        &self,
        addr: SocketAddr,
        http: Http,
        identity: Option<&Identified>,
    ) -> client::TlsStream<TcpStream> {
        let connector = self.authority.connector(http, identity);
        let stream = TcpStream::connect(addr).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, stream).await.unwrap()
    }

    async fn ask(
        &self,
        addr: SocketAddr,
        http: Http,
        identity: Option<&Identified>,
        request: Builder,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let stream = TokioIo::new(self.connect(addr, http, identity).await);
        let request = request
            .body(Full::new(Bytes::from_static(&[0; 5])))
            .unwrap();
        let response = match http {
            Http::One => {
                let (mut sender, connection) = conn::http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
            Http::Two => {
                let handshake = conn::http2::handshake(TokioExecutor::new(), stream);
                let (mut sender, connection) = handshake.await.unwrap();
                tokio::spawn(connection);
                sender.send_request(request).await.unwrap()
            }
        };
        let (head, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, head.headers, body)
    }

    /// What must hold on every host.
    async fn holds(&self, host: &str, server: &Server) {
        let thief = self.authority.identified("thief.example");
        let token = self.client.token();
        for http in [Http::One, Http::Two] {
            for (case, identity, token, status) in [
                (
                    "the client",
                    Some(&self.client),
                    token.clone(),
                    StatusCode::OK,
                ),
                (
                    "a thief",
                    Some(&thief),
                    token.clone(),
                    StatusCode::UNAUTHORIZED,
                ),
                (
                    "no certificate",
                    None,
                    token.clone(),
                    StatusCode::UNAUTHORIZED,
                ),
                ("a plain token", None, good(), StatusCode::OK),
            ] {
                let case = format!("{host}, {http:?}: {case}");
                let request = Request::get(uri(http, "/me"))
                    .header("host", "localhost")
                    .header("authorization", format!("Bearer {token}"));
                let (found, headers, body) = self.ask(server.addr, http, identity, request).await;
                assert_eq!(found, status, "{case}");
                match status {
                    StatusCode::OK => assert_eq!(&body[..], b"alice", "{case}"),
                    _ => {
                        let challenge = headers["www-authenticate"].to_str().unwrap();
                        assert!(challenge.contains("invalid_token"), "{case}: {challenge}");
                    }
                }
            }
        }
    }
}

/// HTTP/2 has a whole URI.
fn uri(http: Http, path: &str) -> String {
    match http {
        Http::One => path.to_owned(),
        Http::Two => format!("https://localhost{path}"),
    }
}

async fn whoami(caller: Principal) -> String {
    caller.subject().unwrap_or_default().to_owned()
}

fn me(auth: JwtAuthLayer) -> Router {
    let upgrade = async |upgrade: WebSocketUpgrade| upgrade.on_upgrade(async |_| ());
    Router::new()
        .route("/me", get(whoami))
        .route("/ws", get(upgrade))
        .layer(auth)
}

/// An accept loop by hand: tokio-rustls and hyper.
async fn by_hyper(acceptor: TlsAcceptor, app: Router) -> Server {
    Server::run(move |listener| async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, app) = (acceptor.clone(), app.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else {
                    return;
                };
                let (_, connection) = stream.get_ref();
                let certificate = connection.peer_certificates();
                let certificate = certificate.and_then(PeerCertificate::of_chain);
                let service = ServiceBuilder::new()
                    .map_request(move |mut request: Request<hyper::body::Incoming>| {
                        if let Some(certificate) = &certificate {
                            request.extensions_mut().insert(certificate.clone());
                        }
                        request
                    })
                    .service(app);
                let _ = auto::Builder::new(TokioExecutor::new())
                    .serve_connection_with_upgrades(
                        TokioIo::new(stream),
                        TowerToHyperService::new(service),
                    )
                    .await;
            });
        }
    })
    .await
}

/// A listener for `axum::serve`.
struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = server::TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, addr) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, addr);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// The certificate of the client, as axum keeps what it knows of a connection.
#[derive(Clone)]
struct Client(Option<PeerCertificate>);

impl Connected<IncomingStream<'_, TlsListener>> for Client {
    fn connect_info(stream: IncomingStream<'_, TlsListener>) -> Self {
        let (_, connection) = stream.io().get_ref();
        let chain = connection.peer_certificates();
        Self(chain.and_then(PeerCertificate::of_chain))
    }
}

#[tokio::test]
async fn h7_tokio_rustls_and_hyper_fill_the_certificate() {
    let world = World::new();
    let server = by_hyper(world.authority.acceptor(), me(bound(Mtls::peer()))).await;
    world.holds("hyper", &server).await;
}

#[tokio::test]
async fn h7_a_listener_of_axum_fills_the_certificate() {
    let world = World::new();
    let rules = Mtls::peer()
        .certificate_from(|extensions| extensions.get::<ConnectInfo<Client>>()?.0.0.clone());
    let app = me(bound(rules)).into_make_service_with_connect_info::<Client>();
    let acceptor = world.authority.acceptor();
    let server =
        Server::run(|listener| axum::serve(TlsListener { listener, acceptor }, app).into_future());
    world.holds("axum", &server.await).await;
}

#[tokio::test]
async fn h7_the_connection_info_of_tonic_has_the_certificate() {
    use transport::server::{TcpConnectInfo, TlsConnectInfo};

    let world = World::new();
    let rules = Mtls::peer().certificate_from(|extensions| {
        let connection = extensions.get::<TlsConnectInfo<TcpConnectInfo>>()?;
        PeerCertificate::of_chain(&connection.peer_certs()?)
    });
    let auth = bound(rules);
    let (of_server, root) = (
        world.authority.identified("localhost"),
        &world.authority.pem,
    );
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(
            &of_server.pem,
            of_server.key.serialize_pem(),
        ))
        .client_ca_root(transport::Certificate::from_pem(root))
        .client_auth_optional(true);
    let (_, health) = health_reporter();
    let server = Server::run(move |listener| {
        transport::Server::builder()
            .tls_config(tls)
            .unwrap()
            .layer(auth)
            .add_service(health)
            .serve_with_incoming(TcpIncoming::from(listener))
    })
    .await;
    let thief = world.authority.identified("thief.example");
    let token = world.client.token();
    for (case, identity, token, refused) in [
        ("the client", Some(&world.client), token.clone(), None),
        ("a thief", Some(&thief), token.clone(), Some("16")),
        ("no certificate", None, token.clone(), Some("16")),
        ("a plain token", None, good(), None),
    ] {
        let request = Request::post("https://localhost/grpc.health.v1.Health/Check")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("authorization", format!("Bearer {token}"));
        let answer = world.ask(server.addr, Http::Two, identity, request).await;
        let (status, headers, body) = answer;
        assert_eq!(status, StatusCode::OK, "{case}");
        // A refusal is trailers-only; the status of a response is in its trailers.
        let status = headers
            .get("grpc-status")
            .map(|status| status.to_str().unwrap());
        assert_eq!(status, refused, "{case}");
        assert_eq!(body.is_empty(), refused.is_some(), "{case}");
    }
}

#[tokio::test]
async fn h3_a_websocket_needs_the_certificate_at_its_handshake() {
    let world = World::new();
    let server = by_hyper(world.authority.acceptor(), me(bound(Mtls::peer()))).await;
    let token = world.client.token();
    for (identity, expected) in [
        (Some(&world.client), "HTTP/1.1 101"),
        (None, "HTTP/1.1 401"),
    ] {
        let handshake = format!(
            "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        let mut stream = world.connect(server.addr, Http::One, identity).await;
        stream.write_all(handshake.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(str::from_utf8(&answer).unwrap(), expected);
    }
}

#[tokio::test]
async fn h3_a_filter_of_warp_knows_no_certificate_and_refuses_bound_tokens() {
    let world = World::new();
    let proxied = Mtls::behind(["127.0.0.1"], CertificateHeader::HaProxy);
    for (rules, bound_token, plain) in [
        (Mtls::peer(), StatusCode::UNAUTHORIZED, StatusCode::OK),
        (
            Mtls::peer().required(),
            StatusCode::UNAUTHORIZED,
            StatusCode::UNAUTHORIZED,
        ),
        // The filter has no address of the peer either.
        (
            proxied,
            StatusCode::INTERNAL_SERVER_ERROR,
            StatusCode::INTERNAL_SERVER_ERROR,
        ),
    ] {
        let routes = warp::path!("me")
            .and(authenticated(bound(rules)))
            .map(|_: Verified<Claims>| "alice")
            .recover(recover);
        let server = Server::run(|listener| warp::serve(routes).incoming(listener).run()).await;
        let answer = get_plain(server.addr, "/me", Some(&world.client.token())).await;
        assert_eq!(answer.status, bound_token);
        let answer = get_plain(server.addr, "/me", Some(&good())).await;
        assert_eq!(answer.status, plain);
    }
}

#[tokio::test]
async fn h7_a_layer_around_warp_has_the_certificate() {
    let world = World::new();
    let certificate = PeerCertificate::from_der(world.client.certificate.as_ref());
    let routes = warp::path!("me")
        .and(warp::ext::get::<Principal>())
        .map(|caller: Principal| caller.subject().unwrap_or_default().to_owned());
    let service = ServiceBuilder::new()
        .map_request(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(certificate.clone());
            request
        })
        .service(bound(Mtls::peer()).layer(warp::service(routes)));
    let server = Server::hyper(service).await;
    let answer = get_plain(server.addr, "/me", Some(&world.client.token())).await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "alice"));
    let other = world.authority.identified("thief.example").token();
    let answer = get_plain(server.addr, "/me", Some(&other)).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn h6_axum_knows_the_address_of_the_proxy() {
    let world = World::new();
    let token = world.client.token();
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&world.client.certificate)
    };
    for (proxy, expected) in [("127.0.0.1", "HTTP/1.1 200"), ("127.0.0.2", "HTTP/1.1 401")] {
        let rules = Mtls::behind([proxy], CertificateHeader::ClientCert);
        let app = me(bound(rules)).into_make_service_with_connect_info::<SocketAddr>();
        let server = Server::run(|listener| axum::serve(listener, app).into_future()).await;
        let request = format!(
            "GET /me HTTP/1.1\r\nhost: x\r\nconnection: close\r\nclient-cert: :{base64}:\r\n\
             authorization: Bearer {token}\r\n\r\n"
        );
        let answer = raw(server.addr, &request).await;
        assert!(answer.starts_with(expected), "{proxy}: {answer}");
    }
}
