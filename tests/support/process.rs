//! A process of an example, and a client of it.

use std::{
    env,
    ffi::OsStr,
    fs,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::fd::AsFd,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
};

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// An example, on a port of its own; killed when this is dropped.
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

impl Server {
    pub(crate) fn start_example<V: AsRef<OsStr>>(name: &str, vars: &[(&str, V)]) -> Self {
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

    /// Writes what it prints from now on to a file.
    #[allow(dead_code, reason = "only the processes need it")]
    pub(crate) fn log_to(&self, path: &str) {
        let printed = self.stdout.get_ref().as_fd().try_clone_to_owned();
        let (mut printed, mut file) = (File::from(printed.unwrap()), File::create(path).unwrap());
        // Ends with the process.
        std::thread::spawn(move || io::copy(&mut printed, &mut file));
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

    /// Ends it as an operator does, and says all that it has printed.
    pub(crate) fn stop(self) -> String {
        self.stop_by("TERM")
    }

    pub(crate) fn stop_by(mut self, signal: &str) -> String {
        // The shell's own: a minimal system has no program of that name.
        let command = format!("kill -{signal} {}", self.child.id());
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

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// What an example says that does not come up: all that it printed, and the complaint alone.
pub(crate) fn refused_by<V: AsRef<OsStr>>(
    name: &str,
    vars: &[(&str, V)],
) -> (ExitStatus, String, String) {
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

/// Runs a command of an example to its end.
#[allow(dead_code, reason = "only the processes need it")]
pub(crate) fn command<V: AsRef<OsStr>>(name: &str, words: &[&str], vars: &[(&str, V)]) -> Output {
    let folder = Folder::new();
    let mut command = prepared(name, vars, &folder);
    command.args(words).output().expect("the example starts")
}

fn spawn<V: AsRef<OsStr>>(name: &str, vars: &[(&str, V)], folder: &Folder) -> Child {
    let mut command = prepared(name, vars, folder);
    command.spawn().expect("the example starts")
}

fn prepared<V: AsRef<OsStr>>(name: &str, vars: &[(&str, V)], folder: &Folder) -> Command {
    let mut command = Command::new(example(name));
    command
        .env_clear()
        .env("PORT", "0")
        .env("TMPDIR", folder.path())
        .envs(vars.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
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

    pub(crate) fn file(&self, name: &str, contents: &str) -> String {
        let path = self.path().join(name);
        fs::write(&path, contents).unwrap();
        path.to_str().unwrap().to_owned()
    }
}
