//! A process of the example, and a client of it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE, SET_COOKIE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

pub(crate) const USER: &str = "ada@example.org";
pub(crate) const ADMIN: &str = "grace@example.org";
pub(crate) const PASSWORD: &str = "a password of the tests";
pub(crate) const SEEDS: (&str, &str) = (
    "AUTH_SEED_USER",
    "ada@example.org:a password of the tests:user,grace@example.org:a password of the tests:admin",
);

/// The example, on a port of its own; killed when this is dropped.
pub(crate) struct Server {
    child: Child,
    stdout: BufReader<ChildStdout>,
    said: String,
    address: String,
    client: Client<HttpConnector, Full<Bytes>>,
    _folder: Folder,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// What a client was given.
#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl Server {
    pub(crate) fn start(vars: &[(&str, &str)]) -> Self {
        Self::start_example("auth_server", vars)
    }

    /// Another example that says where it listens.
    pub(crate) fn start_example(name: &str, vars: &[(&str, &str)]) -> Self {
        let folder = Folder::new();
        let mut child = spawn(name, vars, &folder);
        let mut server = Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
            said: String::new(),
            address: String::new(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            _folder: folder,
        };
        while server.address.is_empty() {
            let begin = server.said.len();
            if server.stdout.read_line(&mut server.said).unwrap() == 0 {
                let (status, complaint) = ended(&mut server.child);
                panic!("{status}: {complaint}\n{}", server.said);
            }
            if let Some(address) = server.said[begin..].strip_prefix("listening on ") {
                server.address = address.trim().to_owned();
            }
        }
        server
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// What it printed before it listened.
    pub(crate) fn said(&self) -> &str {
        &self.said
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<String>,
    ) -> Answer {
        let body = body.into();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.address));
        if !body.is_empty() {
            let kind = match body.starts_with('{') {
                true => "application/json",
                false => "application/x-www-form-urlencoded",
            };
            request = request.header(CONTENT_TYPE, kind);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::from(body)).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            body: String::from_utf8(body.to_vec()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str, token: Option<&str>) -> Answer {
        self.with(Method::GET, path, token, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<String>) -> Answer {
        self.send(Method::POST, path, &[], body).await
    }

    pub(crate) async fn with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> Answer {
        let header = token.map(|token| format!("Bearer {token}"));
        let header = header
            .as_deref()
            .map(|value| (AUTHORIZATION.as_str(), value));
        self.send(method, path, header.as_slice(), body).await
    }

    pub(crate) async fn try_login(&self, name: &str, password: &str) -> Answer {
        let body = json!({ "email": name, "password": password });
        self.post("/api/auth/login", body.to_string()).await
    }

    pub(crate) async fn login(&self, name: &str) -> Tokens {
        self.try_login(name, PASSWORD).await.tokens()
    }

    pub(crate) async fn refresh(&self, tokens: &Tokens) -> Answer {
        let body = json!({ "refresh_token": tokens.refresh });
        self.post("/api/auth/refresh", body.to_string()).await
    }

    pub(crate) async fn logout(&self, tokens: &Tokens, scope: &str) -> Answer {
        let body = json!({ "scope": scope }).to_string();
        let path = "/api/auth/logout";
        self.with(Method::POST, path, Some(&tokens.access), &body)
            .await
    }

    pub(crate) async fn me(&self, tokens: &Tokens) -> u16 {
        self.get("/api/me", Some(&tokens.access)).await.status
    }

    /// Waits until the tokens' session is known to be over; says how long it took. The process that
    /// ended it knows at once, another one a moment later.
    pub(crate) async fn refuses(&self, tokens: &Tokens) -> Duration {
        let begun = Instant::now();
        while self.me(tokens).await != 401 {
            assert!(begun.elapsed() < Duration::from_secs(60), "still let in");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        begun.elapsed()
    }

    /// Ends it as an operator does, and says all that it has printed.
    pub(crate) fn stop(mut self) -> String {
        let command = format!("kill -TERM {}", self.child.id());
        let sent = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(sent.success());
        self.stdout.read_to_string(&mut self.said).unwrap();
        let (status, complaint) = ended(&mut self.child);
        assert_eq!(status.code(), Some(0), "{complaint}");
        self.said.push_str(&complaint);
        std::mem::take(&mut self.said)
    }

    /// As `kill -9` does.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    #[track_caller]
    pub(crate) fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{self:?}");
        Tokens {
            access: self.text("access_token"),
            refresh: self.text("refresh_token"),
        }
    }

    /// The lines that set cookies, in their order.
    pub(crate) fn cookies(&self) -> Vec<&str> {
        let lines = self.headers.get_all(SET_COOKIE).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What a process says that does not come up: all that it printed, and the complaint alone.
pub(crate) fn refused(vars: &[(&str, &str)]) -> (ExitStatus, String, String) {
    refused_by("auth_server", vars)
}

pub(crate) fn refused_by(name: &str, vars: &[(&str, &str)]) -> (ExitStatus, String, String) {
    let folder = Folder::new();
    let mut child = spawn(name, vars, &folder);
    let mut said = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.starts_with("listening on ") {
            let _ = child.kill();
            let names = vars.iter().map(|(name, _)| *name).collect::<Vec<_>>();
            panic!("it came up: {names:?}");
        }
        said.push_str(&line);
    }
    let (status, complaint) = ended(&mut child);
    said.push_str(&complaint);
    (status, said, complaint)
}

fn spawn(name: &str, vars: &[(&str, &str)], folder: &Folder) -> Child {
    Command::new(example(name))
        .env_clear()
        .env("PORT", "0")
        .env("TMPDIR", folder.path())
        .envs(vars.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the example starts")
}

fn ended(child: &mut Child) -> (ExitStatus, String) {
    let mut complaint = String::new();
    let mut stderr = child.stderr.take().unwrap();
    stderr.read_to_string(&mut complaint).unwrap();
    (child.wait().unwrap(), complaint)
}

/// `cargo test` builds the examples beside the tests; `cargo test --test processes` takes what was
/// built last.
fn example(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let file = format!("{name}{}", env::consts::EXE_SUFFIX);
    let path = profile.join("examples").join(file);
    assert!(
        path.exists(),
        "first: cargo build --example {name} --all-features"
    );
    path
}

/// A folder that is gone when this is dropped.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        let place = env!("CARGO_TARGET_TMPDIR");
        Self(tempfile::tempdir_in(place).unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// The URL of a database in it.
    pub(crate) fn sqlite(&self) -> String {
        format!("sqlite:{}", self.path().join("auth.db").display())
    }

    pub(crate) fn file(&self, name: &str, contents: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
