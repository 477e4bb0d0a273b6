//! The connection to Redis: one for all requests. It is replaced when it is lost, and follows the primary.

pub(crate) mod fault;

#[cfg(feature = "redis")]
use std::fmt::Display;
use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisError, ScriptInvocation, ServerErrorKind, aio::MultiplexedConnection,
};
#[cfg(feature = "redis")]
use redis::{RedisWrite, Script, ToRedisArgs};
use tokio::{
    sync::{OnceCell, Semaphore},
    time,
};

use self::fault::store_error;
use crate::error::{ConfigError, StoreError, StoreErrorKind};

/// Sends scripts to the server.
///
/// A request waits up to 1 s for a connection and up to 2 s for its response. More than 1024
/// concurrent requests are refused, so that a slow server does not cause a growing queue.
pub(crate) struct Link {
    /// Contains the password: never printed.
    seed: ConnectionInfo,
    current: Mutex<Current>,
    room: Semaphore,
}

#[derive(Default)]
struct Current {
    /// The node that serves the keys, as named in a redirection.
    moved_to: Option<(String, u16)>,
    connection: Arc<OnceCell<MultiplexedConnection>>,
}

/// A script or a single command.
pub(crate) trait Call {
    fn send<T: FromRedisValue + Send>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> impl Future<Output = Result<T, RedisError>> + Send;
}

impl Call for ScriptInvocation<'_> {
    async fn send<T: FromRedisValue + Send>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        self.invoke_async(connection).await
    }
}

impl Call for Cmd {
    async fn send<T: FromRedisValue + Send>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        self.query_async(connection).await
    }
}

/// A script with its keys and arguments, in the form in which they are sent.
///
/// `ScriptInvocation` allocates each of them, and copies them at every call.
#[cfg(feature = "redis")]
pub(crate) struct Evaluation<'a> {
    script: &'a Script,
    command: Cmd,
}

#[cfg(feature = "redis")]
impl<'a> Evaluation<'a> {
    /// Starts the call of a script with this number of keys. The keys come first.
    pub(crate) fn new(script: &'a Script, keys: usize) -> Self {
        let mut command = Cmd::with_capacity(WORDS, BYTES);
        command.arg("EVALSHA").arg(script.get_hash()).arg(keys);
        Self { script, command }
    }

    /// Adds a key or an argument.
    pub(crate) fn arg(&mut self, word: impl ToRedisArgs) -> &mut Self {
        self.command.arg(word);
        self
    }

    /// Adds a key or an argument, which is written into the call.
    pub(crate) fn format(&mut self, word: impl Display) -> &mut Self {
        self.command.write_arg_fmt(word);
        self
    }
}

#[cfg(feature = "redis")]
impl Call for Evaluation<'_> {
    async fn send<T: FromRedisValue + Send>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> Result<T, RedisError> {
        match self.command.query_async(connection).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.script.load_async(connection).await?;
                self.command.query_async(connection).await
            }
            result => result,
        }
    }
}

/// The decision about a request whose response was lost: it may have been executed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// A second execution is harmless.
    #[cfg_attr(
        not(feature = "redis"),
        allow(dead_code, reason = "a second record of a used proof is not")
    )]
    Harmless,
    /// The request is not sent again.
    Never,
}

impl Link {
    pub(crate) fn new(url: &str) -> Result<Self, ConfigError> {
        let unusable = |_| {
            ConfigError::invalid(
                "the URL of the Redis store",
                "is invalid: use `redis://[user:password@]host[:port][/database]`; \
                `rediss://` needs the feature `tokio-rustls-comp` of the crate `redis`",
            )
        };
        let seed = url.into_connection_info().map_err(unusable)?;
        // Fails if this kind of address cannot be used.
        Client::open(seed.clone()).map_err(unusable)?;
        Ok(Self {
            seed,
            current: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        })
    }

    /// Runs a script or a command. If the server refuses it because another node is the primary or serves
    /// the keys, sends it to that node, once.
    pub(crate) async fn run<T: FromRedisValue + Send>(
        &self,
        call: &(impl Call + Sync),
        repeat: Repeat,
    ) -> Result<T, StoreError> {
        let Ok(_room) = self.room.try_acquire() else {
            return Err(StoreError::unavailable(
                "too many concurrent requests to Redis",
            ));
        };
        match self.attempt(call).await {
            Err(Failed::Elsewhere(_)) => {}
            Err(Failed::Here(error))
                if repeat == Repeat::Harmless && error.kind() == StoreErrorKind::Interrupted => {}
            other => return other.map_err(Failed::into_error),
        }
        self.attempt(call).await.map_err(Failed::into_error)
    }

    async fn attempt<T: FromRedisValue + Send>(
        &self,
        call: &(impl Call + Sync),
    ) -> Result<T, Failed> {
        let cell = Arc::clone(&self.lock().connection);
        let mut connection = match cell.get() {
            Some(connection) => connection.clone(),
            None => self.first_connection(&cell).await.map_err(Failed::Here)?,
        };
        match time::timeout(ANSWER, call.send(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let elsewhere = self.follow_from(&error, &cell);
                let error = store_error(error);
                Err(if elsewhere {
                    Failed::Elsewhere(error)
                } else {
                    Failed::Here(error)
                })
            }
            Err(late) => {
                self.drop_connection(&cell);
                Err(Failed::Here(StoreError::interrupted(late)))
            }
        }
    }

    /// Connects. One task does so. If it fails, the next waiting one tries, each within its own timeout.
    async fn first_connection(
        &self,
        cell: &OnceCell<MultiplexedConnection>,
    ) -> Result<MultiplexedConnection, StoreError> {
        let connecting = cell.get_or_try_init(|| self.connect());
        match time::timeout(CONNECT, connecting).await {
            Ok(connection) => connection.cloned(),
            Err(late) => Err(StoreError::unavailable(late)),
        }
    }

    /// Opens a separate connection.
    pub(crate) async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
        let moved_to = self.lock().moved_to.clone();
        let mut target = self.seed.clone();
        if let Some((host, port)) = &moved_to {
            target = target.set_addr(self.address(host.clone(), *port));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(None)
            .set_pipeline_buffer_size(AT_ONCE);
        let connecting = async {
            let client = Client::open(target)?;
            client
                .get_multiplexed_async_connection_with_config(&config)
                .await
        };
        let outcome = match time::timeout(CONNECT, connecting).await {
            Ok(outcome) => outcome.map_err(StoreError::unavailable),
            Err(late) => Err(StoreError::unavailable(late)),
        };
        if outcome.is_err() && moved_to.is_some() {
            // That node is gone. The seed redirects to the current one.
            self.lock().moved_to = None;
        }
        outcome
    }

    /// Applies a redirection, and drops the connection if it is lost. Returns `true` if the request
    /// was not executed and should be sent to another node.
    pub(crate) fn follow_from(
        &self,
        error: &RedisError,
        cell: &Arc<OnceCell<MultiplexedConnection>>,
    ) -> bool {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                let node = error.redirect_node().and_then(|(node, _)| {
                    let (host, port) = node.rsplit_once(':')?;
                    // Without a host, the redirection names another port of the same host.
                    let host = if host.is_empty() { self.host()? } else { host };
                    Some((host.to_owned(), port.parse().ok()?))
                });
                let known = node.is_some();
                self.lock().moved_to = node;
                self.drop_connection(cell);
                known
            }
            // After a failover the host name resolves to the new primary, but the connection leads to
            // the old one.
            ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown) => {
                self.lock().moved_to = None;
                self.drop_connection(cell);
                true
            }
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::AuthenticationFailed => {
                self.drop_connection(cell);
                false
            }
            _ => false,
        }
    }

    /// Applies a redirection that a separate connection received.
    #[cfg(feature = "redis")]
    pub(crate) fn follow(&self, error: &RedisError) {
        self.follow_from(error, &Arc::new(OnceCell::new()));
    }

    /// Makes later requests open another connection. Pending requests keep the old one.
    fn drop_connection(&self, cell: &Arc<OnceCell<MultiplexedConnection>>) {
        let mut current = self.lock();
        if Arc::ptr_eq(&current.connection, cell) {
            current.connection = Arc::default();
        }
    }

    fn host(&self) -> Option<&str> {
        match self.seed.addr() {
            ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
            _ => None,
        }
    }

    fn address(&self, host: String, port: u16) -> ConnectionAddr {
        match self.seed.addr() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure: *insecure,
                tls_params: tls_params.clone(),
            },
            _ => ConnectionAddr::Tcp(host, port),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Failed {
    /// The request was not executed. Another node may execute it.
    Elsewhere(StoreError),
    /// The request failed.
    Here(StoreError),
}

impl Failed {
    fn into_error(self) -> StoreError {
        let (Self::Elsewhere(error) | Self::Here(error)) = self;
        error
    }
}

pub(crate) const AT_ONCE: usize = 1024;
/// The size of a call for one session.
#[cfg(feature = "redis")]
const WORDS: usize = 10;
#[cfg(feature = "redis")]
const BYTES: usize = 256;
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);
