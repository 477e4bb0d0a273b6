//! A client with one connection, which waits for each response.

use std::{
    io::{BufRead, BufReader, Read, Write},
    mem,
    net::TcpStream,
};

use serde_json::{Value, json};

use super::auth_server::{AuthServer, NAME, PASSWORD};

pub(super) struct Client {
    connection: BufReader<TcpStream>,
    access: String,
    refresh: String,
}

impl Client {
    pub(super) fn sign_in(server: &AuthServer) -> Self {
        let stream = TcpStream::connect(&server.address).expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let mut client = Self {
            connection: BufReader::new(stream),
            access: String::new(),
            refresh: String::new(),
        };
        let login = json!({ "email": NAME, "password": PASSWORD });
        client.exchange("login", &login);
        client
    }

    pub(super) fn refresh(&mut self) {
        let spent = mem::take(&mut self.refresh);
        self.exchange("refresh", &json!({ "refresh_token": spent }));
        assert_ne!(self.refresh, spent, "every refresh is a write");
    }

    /// In the cache from the second request of a turn on.
    pub(super) fn cached(&mut self) {
        let credential = format!("authorization: Bearer {}\r\n", self.access);
        self.send("GET", "/protected", &credential, "");
    }

    pub(super) fn health(&mut self) {
        self.send("GET", "/health", "", "");
    }

    fn exchange(&mut self, endpoint: &str, body: &Value) {
        let path = format!("/api/auth/{endpoint}");
        let json = "content-type: application/json\r\n";
        let answer = self.send("POST", &path, json, &body.to_string());
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        let token = |name: &str| answer[name].as_str().expect("a token").to_owned();
        self.access = token("access_token");
        self.refresh = token("refresh_token");
    }

    /// Sends a request, and returns the body of the response, which must be 200.
    fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Vec<u8> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\n{headers}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let stream = self.connection.get_mut();
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut head = String::new();
        let mut length = 0;
        loop {
            let begin = head.len();
            self.connection.read_line(&mut head).expect("it answers");
            let line = head.get(begin..).unwrap_or_default().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
        let mut body = vec![0; length];
        self.connection.read_exact(&mut body).expect("a body");
        body
    }
}
