//! nginx, HAProxy and Envoy in front of an example: they end TLS, and may ask clients for a certificate.

use std::{
    env,
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rcgen::{Certificate, CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::{
    port::free_port,
    process::{Answer, Server},
    tls_server::Authority,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    HaProxy,
    Envoy,
}

/// A proxy that listens; killed when this is dropped.
pub(crate) struct TlsProxy {
    process: Child,
    folder: TempDir,
    /// The public URL of the server, without a path.
    pub(crate) url: String,
    /// The server behind the proxy, which speaks plain HTTP.
    pub(crate) server: Server,
}

impl TlsProxy {
    /// Starts a server, which is given its public URL, and a proxy in front of it.
    ///
    /// With `clients` the proxy asks for certificates of the authority, and sends the one of the client, if it has
    /// one, in `X-Client-Cert` (nginx, escaped PEM), `X-SSL-Client-DER` (HAProxy, DER in base64) or
    /// `X-Forwarded-Client-Cert` (Envoy).
    pub(crate) async fn start(
        kind: Kind,
        authority: &Authority,
        clients: bool,
        server: impl Fn(&str) -> Server,
    ) -> Self {
        let mut complaints = String::new();
        for _ in 0..5 {
            let port = free_port();
            let url = format!("https://localhost:{port}");
            let server = server(&url);
            let mut proxy = Self::launch(kind, authority, clients, port, server);
            if proxy.listens(port).await {
                return proxy;
            }
            // Another process may have taken the port.
            complaints = fs::read_to_string(proxy.folder.path().join("log")).unwrap();
        }
        panic!("{kind:?} does not start: {complaints}");
    }

    fn launch(kind: Kind, authority: &Authority, clients: bool, port: u16, server: Server) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tls-proxy-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let root = folder.path().canonicalize().unwrap();
        let (certificate, key) = certificate(authority, "localhost");
        let (certificate, key) = (certificate.pem(), key.serialize_pem());
        fs::write(root.join("certificate.pem"), &certificate).unwrap();
        fs::write(root.join("key.pem"), &key).unwrap();
        // HAProxy reads both from one file.
        fs::write(root.join("both.pem"), certificate + &key).unwrap();
        fs::write(root.join("clients.pem"), &authority.pem).unwrap();
        let behind = server.address().strip_prefix("http://").unwrap();
        let behind = behind.parse().unwrap();
        let configuration = match kind {
            Kind::Nginx => nginx(&root, port, behind, clients),
            Kind::HaProxy => haproxy(&root, port, behind, clients),
            Kind::Envoy => envoy(&root, port, behind, clients),
        };
        let path = root.join("configuration");
        fs::write(&path, configuration).unwrap();
        let mut command = command(kind, &root, &path);
        let log = File::create(root.join("log")).unwrap();
        let process = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            process,
            folder,
            url: format!("https://localhost:{port}"),
            server,
        }
    }

    /// Waits until the port answers. Returns `false` if the process ends before.
    async fn listens(&mut self, port: u16) -> bool {
        let since = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(since.elapsed().as_secs() < 60, "the proxy does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The port may be that of another process.
        self.process.try_wait().unwrap().is_none()
    }

    /// Sends a request to the public URL.
    pub(crate) async fn send(
        &self,
        client: &HttpsClient,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        let (head, body) = client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) type HttpsClient = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// A certificate for this name by the authority, and its key.
pub(crate) fn certificate(authority: &Authority, name: &str) -> (Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    // OpenSSL takes a certificate with the name of its issuer for a self-signed one.
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    (certificate, key)
}

/// A client over HTTP/2 or HTTP/1.1, with or without a certificate.
pub(crate) fn client(
    authority: &Authority,
    identity: Option<&(Certificate, KeyPair)>,
) -> HttpsClient {
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(root).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let chain = vec![certificate.der().clone()];
            config.with_client_auth_cert(chain, key).unwrap()
        }
    };
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(config)
        .https_only()
        .enable_all_versions()
        .build();
    Client::builder(TokioExecutor::new()).build(connector)
}

fn command(kind: Kind, root: &Path, configuration: &Path) -> Command {
    let program = |variable, default| {
        Command::new(env::var(variable).unwrap_or_else(|_| String::from(default)))
    };
    match kind {
        Kind::Nginx => {
            let mut nginx = program("NGINX", "/usr/sbin/nginx");
            nginx.args(["-e", "stderr", "-p"]).arg(root);
            nginx.arg("-c").arg(configuration);
            nginx
        }
        Kind::HaProxy => {
            let mut haproxy = program("HAPROXY", "/usr/sbin/haproxy");
            haproxy.args(["-db", "-f"]).arg(configuration);
            haproxy
        }
        Kind::Envoy => {
            let mut envoy = program("ENVOY", "envoy");
            envoy.args(["--disable-hot-restart", "--concurrency", "1"]);
            envoy.args(["--log-level", "warn", "--config-yaml"]);
            envoy.arg(fs::read_to_string(configuration).unwrap());
            envoy
        }
    }
}

fn nginx(root: &Path, port: u16, behind: SocketAddr, clients: bool) -> String {
    let root = root.display();
    let (verify, forward) = match clients {
        true => (
            format!(
                "ssl_client_certificate {root}/clients.pem;\n        ssl_verify_client optional;"
            ),
            "proxy_set_header X-Client-Cert $ssl_client_escaped_cert;",
        ),
        false => (String::new(), ""),
    };
    // One process, so that none is left when it is killed. Paths are below its folder (`-p`).
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    server {{
        listen 127.0.0.1:{port} ssl http2;
        ssl_certificate {root}/certificate.pem;
        ssl_certificate_key {root}/key.pem;
        {verify}
        location / {{
            {forward}
            proxy_pass http://{behind};
        }}
    }}
}}
"
    )
}

fn haproxy(root: &Path, port: u16, behind: SocketAddr, clients: bool) -> String {
    let root = root.display();
    let (verify, forward) = match clients {
        true => (
            format!("ca-file {root}/clients.pem verify optional"),
            "http-request del-header X-SSL-Client-DER
    http-request set-header X-SSL-Client-DER %[ssl_c_der,base64] if { ssl_c_used }",
        ),
        false => (String::new(), ""),
    };
    format!(
        "global
    maxconn 100
    nbthread 1
defaults
    mode http
    timeout connect 60s
    timeout client 60s
    timeout server 60s
frontend public
    bind 127.0.0.1:{port} ssl crt {root}/both.pem alpn h2,http/1.1 {verify}
    {forward}
    default_backend server
backend server
    server example {behind}
"
    )
}

fn envoy(root: &Path, port: u16, behind: SocketAddr, clients: bool) -> String {
    let root = root.display();
    let (host, behind) = (behind.ip(), behind.port());
    let (trusted, details) = match clients {
        true => (
            format!("validation_context: {{ trusted_ca: {{ filename: {root}/clients.pem }} }}"),
            "set_current_client_cert_details: { subject: true, cert: true, uri: true, dns: true }",
        ),
        false => (String::new(), ""),
    };
    format!(
        r#"
static_resources:
  listeners:
  - name: public
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            alpn_protocols: [h2, http/1.1]
            tls_certificates:
            - certificate_chain: {{ filename: {root}/certificate.pem }}
              private_key: {{ filename: {root}/key.pem }}
            {trusted}
      filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: AUTO
          forward_client_cert_details: SANITIZE_SET
          {details}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: server }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: server
    type: STATIC
    load_assignment:
      cluster_name: server
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {behind} }} }} }}
"#
    )
}
