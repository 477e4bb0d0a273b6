//! The configurations: those of the manual, with the ports of a test.

use std::net::SocketAddr;

/// A gateway, and the version of HTTP by which it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gateway {
    Nginx,
    Caddy,
    Envoy,
    EnvoyHttp2,
}

/// A port of a gateway, and whom it asks there.
pub(crate) struct Place {
    /// For clients that speak HTTP/1.1 and HTTP/2.
    pub(crate) ports: [u16; 2],
    pub(crate) auth: SocketAddr,
    /// Where it asks: a fixed path, or the prefix of the client's.
    pub(crate) path: &'static str,
}

impl Gateway {
    /// Returns `true` if authentication requests have the method and the path of the client's.
    pub(crate) fn keeps_the_request(self) -> bool {
        matches!(self, Self::Envoy | Self::EnvoyHttp2)
    }

    pub(crate) fn configuration(self, places: &[Place], app: SocketAddr) -> String {
        match self {
            Self::Nginx => nginx(places, app),
            Self::Caddy => caddy(places, app),
            Self::Envoy => envoy(places, app, "http_protocol_options"),
            Self::EnvoyHttp2 => envoy(places, app, "http2_protocol_options"),
        }
    }
}

fn nginx(places: &[Place], app: SocketAddr) -> String {
    let server = |place: &Place| {
        let Place { ports, auth, path } = place;
        format!(
            r#"
    server {{
        listen 127.0.0.1:{};
        listen 127.0.0.1:{} http2;

        location = /_auth {{
            internal;
            proxy_pass http://{auth}{path};
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}

        location / {{
            auth_request /_auth;
            proxy_pass http://{app};
        }}
    }}"#,
            ports[0], ports[1]
        )
    };
    let servers: String = places.iter().map(server).collect();
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
{servers}
}}
"
    )
}

fn caddy(places: &[Place], app: SocketAddr) -> String {
    let site = |place: &Place| {
        let Place { ports, auth, path } = place;
        format!(
            "
http://127.0.0.1:{}, http://127.0.0.1:{} {{
    forward_auth {auth} {{
        uri {path}
    }}
    reverse_proxy {app}
}}
",
            ports[0], ports[1]
        )
    };
    let sites: String = places.iter().map(site).collect();
    format!(
        "{{
    admin off
    auto_https off
    servers {{
        protocols h1 h2 h2c
    }}
}}
{sites}"
    )
}

fn envoy(places: &[Place], app: SocketAddr, protocol: &str) -> String {
    let mut listeners = String::new();
    let mut clusters = cluster("app", app, "http_protocol_options");
    for (number, place) in places.iter().enumerate() {
        clusters += &cluster(&format!("auth{number}"), place.auth, protocol);
        for port in place.ports {
            listeners += &listener(port, number, place.path);
        }
    }
    format!("static_resources:\n  listeners:{listeners}\n  clusters:{clusters}\n")
}

fn listener(port: u16, number: usize, path: &str) -> String {
    format!(
        r#"
  - name: port{port}
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: clients
          codec_type: AUTO
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app }} }}]
          http_filters:
          - name: envoy.filters.http.ext_authz
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz
              failure_mode_allow: false
              http_service:
                server_uri:
                  uri: http://127.0.0.1
                  cluster: auth{number}
                  timeout: 30s
                path_prefix: {path:?}
              allowed_headers:
                patterns: [{{ safe_regex: {{ regex: ".*" }} }}]
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"#
    )
}

fn cluster(name: &str, address: SocketAddr, protocol: &str) -> String {
    let (host, port) = (address.ip(), address.port());
    format!(
        r#"
  - name: {name}
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{ {protocol}: {{}} }}
    load_assignment:
      cluster_name: {name}
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {port} }} }} }}"#
    )
}
