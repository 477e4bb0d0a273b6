//! A key server with configurable faults.

use std::{
    collections::HashMap,
    fmt,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{Answer, TestIssuer, TestKeys, jwks_answer::Body, jwks_form::Forms};
use crate::key::Algorithm;

/// A key server on a free port of the loopback interface, with configurable faults.
///
/// It publishes [`TestKeys::jwks`] at [`url`](Self::url), and metadata (OpenID Connect Discovery, RFC
/// 8414) for [`issuer`](Self::issuer). [`issuer_for`](Self::issuer_for) issues its tokens. Its responses
/// can be changed while it runs, and it counts requests. It needs no async runtime, and stops when it is
/// dropped.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "aws-lc-rs")]
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_jwt_auth::{
///     Verifier,
///     key::Algorithm,
///     test_util::{Answer, JwksFixture, TestIssuer, TestKeys},
/// };
///
/// let server = JwksFixture::start();
/// let verifier = Verifier::jwks(&server.url())
///     .issuer("https://as.example")
///     .audience("https://api.example")
///     .build()?;
/// verifier.ready().await?;
///
/// // The provider rotates: the token of the new key is verified by the request that brings it.
/// server.serve(TestKeys::other().jwks());
/// let rotated = TestIssuer::with_keys(Algorithm::Es256, TestKeys::other());
/// assert!(verifier.verify(rotated.token(|_| ())).await.is_ok());
/// assert_eq!(server.hits(), 2);
///
/// // The provider is in trouble: keys that are known go on serving.
/// server.answer(Answer::status(500));
/// assert!(verifier.verify(rotated.token(|_| ())).await.is_ok());
/// # Ok(())
/// # }
/// # #[cfg(not(feature = "aws-lc-rs"))]
/// # fn main() {}
/// ```
pub struct JwksFixture {
    address: SocketAddr,
    /// The path of the issuer, empty for the origin.
    realm: String,
    pub(super) board: Arc<Board>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

/// The state that the test and the server's threads share.
#[derive(Default)]
pub(super) struct Board {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    down: bool,
    stopped: bool,
    /// The number of releases of held responses.
    released: u64,
    answers: HashMap<String, Answer>,
    hits: HashMap<String, usize>,
    /// The headers of the last request for a path, with their names in lower case.
    headers: HashMap<String, Vec<(String, String)>>,
    confirmed: usize,
    /// The forms that were posted, and the responses to their tokens.
    pub(super) forms: Forms,
}

impl JwksFixture {
    /// Starts a server.
    ///
    /// # Panics
    ///
    /// If the operating system provides no port.
    #[must_use]
    pub fn start() -> Self {
        Self::at(String::new())
    }

    /// Starts a server whose issuer has this path, as an identity provider with realms or tenants.
    ///
    /// # Panics
    ///
    /// If the path does not start with `/`, or ends with `/`, and if the operating system provides no
    /// port.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(feature = "aws-lc-rs")]
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use serde_json::json;
    /// use tower_jwt_auth::{
    ///     Verifier, key::Algorithm, test_util::JwksFixture, verify::Provider,
    /// };
    ///
    /// let keycloak = JwksFixture::realm("/realms/shop");
    /// let verifier = Verifier::provider(Provider::keycloak(&keycloak.issuer(), "orders"))
    ///     .audience("orders")
    ///     .build()?;
    ///
    /// let issuer = keycloak.issuer_for(Algorithm::Rs256).audience("orders");
    /// let token = issuer.token(|claims| {
    ///     claims.insert("realm_access".into(), json!({ "roles": ["admin"] }))
    /// });
    /// let caller = verifier.verify(token).await?.principal();
    /// assert!(caller.has_role("admin"));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(feature = "aws-lc-rs"))]
    /// # fn main() {}
    /// ```
    #[must_use]
    pub fn realm(path: &str) -> Self {
        let sound = path.len() > 1 && path.starts_with('/') && !path.ends_with('/');
        assert!(sound, "a path such as /realms/shop is needed, not {path:?}");
        Self::at(path.to_owned())
    }

    fn at(realm: String) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let fixture = Self {
            address: listener.local_addr().expect("a bound port has an address"),
            realm,
            board: Arc::default(),
            acceptor: Mutex::default(),
        };
        let issuer = fixture.issuer();
        fixture.answer(Answer::json(TestKeys::new().jwks()));
        // OpenID Connect Discovery §4 appends to the issuer. RFC 8414 §3.1 inserts before its path.
        let realm = &fixture.realm;
        for path in [format!("{realm}{OIDC}"), format!("{RFC8414}{realm}")] {
            let metadata = json!({
                "issuer": issuer,
                "jwks_uri": fixture.url(),
                "introspection_endpoint": fixture.url_of(&format!("{realm}{INTROSPECT}")),
            });
            fixture.answer_at(&path, Answer::json(metadata.to_string()));
        }
        fixture.listen(listener);
        fixture
    }

    /// Returns the URL of the key set.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.keys())
    }

    /// Returns the issuer that the metadata names: the server's origin and the path of its realm.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.url_of(&self.realm)
    }

    /// Returns an issuer of this server's tokens, with the first set of [`TestKeys`], which the server
    /// publishes unless it was changed.
    ///
    /// # Panics
    ///
    /// As [`TestIssuer::new`].
    #[must_use]
    pub fn issuer_for(&self, algorithm: Algorithm) -> TestIssuer {
        TestIssuer::new(algorithm).issuer(self.issuer())
    }

    /// Returns the URL of another path, which starts with `/`.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Publishes this key set from now on.
    pub fn serve(&self, jwks: impl Into<String>) {
        self.answer(Answer::json(jwks));
    }

    /// Sets the response to requests for the key set from now on.
    pub fn answer(&self, answer: Answer) {
        self.answer_at(&self.keys(), answer);
    }

    /// Sets the response to requests for this path, which starts with `/`, from now on.
    pub fn answer_at(&self, path: &str, answer: Answer) {
        self.board.lock().answers.insert(path.to_owned(), answer);
    }

    /// Answers 404 to requests for this path from now on.
    pub fn forget(&self, path: &str) {
        self.board.lock().answers.remove(path);
    }

    /// Closes the port: connections are refused.
    ///
    /// # Panics
    ///
    /// Never, because a thread of the server does not panic.
    pub fn down(&self) {
        self.board.change(|state| state.down = true);
        self.join();
    }

    /// Opens the same port again.
    ///
    /// # Panics
    ///
    /// If another process took the port in the meantime and does not give it back within a minute.
    pub fn up(&self) {
        if !std::mem::take(&mut self.board.lock().down) {
            return;
        }
        let since = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                // The port of a server that was down is given to others.
                Err(_) if since.elapsed() < PATIENCE => thread::sleep(Duration::from_millis(10)),
                Err(error) => panic!("the port is taken: {error}"),
            }
        };
        self.listen(listener);
    }

    /// Sends all responses that are [held](Answer::held) now.
    pub fn release(&self) {
        self.board.change(|state| state.released += 1);
    }

    /// Returns the number of requests for the key set.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.hits_at(&self.keys())
    }

    /// Returns the number of requests for this path.
    #[must_use]
    pub fn hits_at(&self, path: &str) -> usize {
        self.board.lock().hits.get(path).copied().unwrap_or(0)
    }

    /// Returns a header of the last request for this path.
    #[must_use]
    pub fn header_at(&self, path: &str, name: &str) -> Option<String> {
        let state = self.board.lock();
        let headers = state.headers.get(path)?;
        let found = headers
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    /// Returns the number of all requests.
    #[must_use]
    pub fn all_hits(&self) -> usize {
        self.board.lock().hits.values().sum()
    }

    /// Returns the number of responses with 304 (not modified).
    #[must_use]
    pub fn confirmed(&self) -> usize {
        self.board.lock().confirmed
    }

    /// Returns the path of the key set.
    fn keys(&self) -> String {
        format!("{}{KEYS}", self.realm)
    }

    fn listen(&self, listener: TcpListener) {
        let board = Arc::clone(&self.board);
        let acceptor = thread::spawn(move || {
            for connection in listener.incoming() {
                if board.lock().is_closed() {
                    return;
                }
                let board = Arc::clone(&board);
                // Broken connections are the purpose of many of these tests.
                thread::spawn(move || connection.and_then(|stream| board.serve(stream)));
            }
        });
        let mut slot = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(acceptor);
    }

    /// Waits until the port is closed.
    fn join(&self) {
        let mut slot = self.acceptor.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acceptor) = slot.take() {
            // Wakes the thread, so that it reads the changed state.
            let _ = TcpStream::connect(self.address);
            let _ = acceptor.join();
        }
    }
}

impl Drop for JwksFixture {
    fn drop(&mut self) {
        self.board.change(|state| state.stopped = true);
        self.join();
    }
}

impl fmt::Debug for JwksFixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwksFixture")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Board {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until the condition holds, for at most `limit`. Returns early if the server closes.
    fn wait(&self, limit: Duration, done: impl Fn(&State) -> bool) -> std::io::Result<()> {
        let (state, _) = self
            .changed
            .wait_timeout_while(self.lock(), limit, |state| {
                !state.is_closed() && !done(state)
            })
            .unwrap_or_else(PoisonError::into_inner);
        if state.is_closed() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let line = read_line(&mut stream)?;
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let (answer, released) = {
            let mut state = self.lock();
            *state.hits.entry(path.clone()).or_default() += 1;
            (state.answers.get(&path).cloned(), state.released)
        };
        let answer = answer.unwrap_or_else(|| Answer::status(404));
        if matches!(answer.body, Body::Reset) {
            // Closed with unread bytes, so that the operating system resets the connection.
            return Ok(());
        }
        let mut headers = Vec::new();
        loop {
            let line = read_line(&mut stream)?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
        let find = |wanted| {
            let found = headers.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        let length = find("content-length").and_then(|length| length.parse().ok());
        let answer = match length {
            Some(length) if length > 0 => {
                let mut form = vec![0; LONGEST_FORM.min(length)];
                stream.read_exact(&mut form)?;
                let of_token = self.lock().forms.posted(&form);
                of_token.unwrap_or(answer)
            }
            _ => answer,
        };
        if matches!(answer.body, Body::Reset) {
            return Ok(());
        }
        let (known, accepted) = (find("if-none-match"), find("accept-encoding"));
        self.lock().headers.insert(path, headers);
        if let Some(coded) = &answer.unless_identity
            && accepted.as_deref() != Some("identity")
        {
            return stream.write_all(coded);
        }
        if answer.held {
            self.wait(Duration::MAX, |state| state.released > released)?;
        }
        if let Some(delay) = answer.delay {
            self.wait(delay, |_| false)?;
        }
        if answer.etag.is_some() && answer.etag == known {
            self.lock().confirmed += 1;
            return stream.write_all(answer.head_of(304, None).as_bytes());
        }
        self.send(&mut stream, &answer)
    }

    fn send(&self, stream: &mut TcpStream, answer: &Answer) -> std::io::Result<()> {
        match &answer.body {
            Body::Whole(bytes) => {
                let head = answer.head_of(answer.status, Some(bytes.len()));
                stream.write_all(&[head.as_bytes(), bytes].concat())
            }
            Body::Truncated(bytes) => {
                let head = answer.head_of(answer.status, Some(bytes.len() + 1));
                stream.write_all(&[head.as_bytes(), bytes].concat())
            }
            Body::Huge(length) => {
                let head = answer.head_of(answer.status, Some(*length));
                stream.write_all(head.as_bytes())?;
                let mut left = *length;
                while left > 0 {
                    let piece = left.min(BLANKS.len());
                    stream.write_all(BLANKS.get(..piece).unwrap_or_default())?;
                    left -= piece;
                }
                Ok(())
            }
            Body::Endless => {
                let head = answer.chunked_head();
                stream.write_all(head.as_bytes())?;
                let chunk = [
                    format!("{:x}\r\n", BLANKS.len()).as_bytes(),
                    BLANKS,
                    b"\r\n",
                ]
                .concat();
                loop {
                    stream.write_all(&chunk)?;
                }
            }
            Body::Trickle(bytes, interval) => {
                let head = answer.head_of(answer.status, Some(bytes.len()));
                stream.write_all(head.as_bytes())?;
                for byte in bytes {
                    stream.write_all(&[*byte])?;
                    self.wait(*interval, |_| false)?;
                }
                Ok(())
            }
            Body::Raw(bytes) => stream.write_all(bytes),
            Body::Reset => Ok(()),
        }
    }
}

impl State {
    fn is_closed(&self) -> bool {
        self.down || self.stopped
    }
}

/// Reads byte by byte, so that nothing after the line is taken from the socket.
fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while !line.ends_with(b"\r\n") {
        if line.len() > LONGEST_LINE {
            return Err(ErrorKind::InvalidData.into());
        }
        stream.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    line.truncate(line.len() - 2);
    Ok(String::from_utf8_lossy(&line).into_owned())
}

const KEYS: &str = "/jwks";
pub(super) const INTROSPECT: &str = "/introspect";
const OIDC: &str = "/.well-known/openid-configuration";
const RFC8414: &str = "/.well-known/oauth-authorization-server";
/// The timeout for a client to send or to read.
const PATIENCE: Duration = Duration::from_secs(60);
const LONGEST_LINE: usize = 16 * 1024;
const LONGEST_FORM: usize = 64 * 1024;
const BLANKS: &[u8] = &[b' '; 64 * 1024];
