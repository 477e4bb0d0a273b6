//! The connection: one for all requests, made anew when it is lost, following the primary.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, FromRedisValue,
    IntoConnectionInfo, RedisError, ScriptInvocation, ServerErrorKind, aio::MultiplexedConnection,
};
use tokio::{
    sync::{OnceCell, Semaphore},
    time,
};

use super::fault;
use crate::error::{ConfigError, StoreError, StoreErrorKind};

/// Sends scripts to the server.
///
/// A request waits a second for a connection and two for its answer; more than 1024 at once are
/// refused, so that a slow server makes no queue.
pub(super) struct Link {
    /// Holds the password: never printed.
    seed: ConnectionInfo,
    current: Mutex<Current>,
    room: Semaphore,
}

#[derive(Default)]
struct Current {
    /// The node of the keys, as the seed's node named it.
    moved_to: Option<(String, u16)>,
    connection: Arc<OnceCell<MultiplexedConnection>>,
}

/// Whether a request that may have been carried out may be carried out again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    Harmless,
    Never,
}

impl Link {
    pub(super) fn new(url: &str) -> Result<Self, ConfigError> {
        let unusable = |_| {
            ConfigError::invalid(
                "the URL of the Redis store",
                "is none that can be used: `redis://[user:password@]host[:port][/database]`; \
                 `rediss://` needs the feature `tokio-rustls-comp` of the crate `redis`",
            )
        };
        let seed = url.into_connection_info().map_err(unusable)?;
        // It says whether this kind of address can be used.
        Client::open(seed.clone()).map_err(unusable)?;
        Ok(Self {
            seed,
            current: Mutex::default(),
            room: Semaphore::new(AT_ONCE),
        })
    }

    /// Runs a script. Where the server refused it because it is not the primary, or does not have
    /// the keys, the script is sent to the one that is or has them, once.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        repeat: Repeat,
    ) -> Result<T, StoreError> {
        let Ok(_room) = self.room.try_acquire() else {
            return Err(StoreError::unavailable("too many requests wait for Redis"));
        };
        match self.attempt(script).await {
            Err(Failed::Elsewhere(_)) => {}
            Err(Failed::For(error))
                if repeat == Repeat::Harmless && error.kind() == StoreErrorKind::Interrupted => {}
            other => return other.map_err(Failed::into_error),
        }
        self.attempt(script).await.map_err(Failed::into_error)
    }

    async fn attempt<T: FromRedisValue>(&self, script: &ScriptInvocation<'_>) -> Result<T, Failed> {
        let cell = Arc::clone(&self.lock().connection);
        // Each waits for itself: where connecting fails, those that wait try it one after the other.
        let connecting = cell.get_or_try_init(|| self.connect());
        let mut connection = match time::timeout(CONNECT, connecting).await {
            Ok(Ok(connection)) => connection.clone(),
            Ok(Err(error)) => return Err(Failed::For(error)),
            Err(late) => return Err(Failed::For(StoreError::unavailable(late))),
        };
        match time::timeout(ANSWER, script.invoke_async(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => {
                let elsewhere = self.heed(&error, &cell);
                let error = fault::store_error(error);
                Err(if elsewhere {
                    Failed::Elsewhere(error)
                } else {
                    Failed::For(error)
                })
            }
            Err(late) => {
                self.drop_connection(&cell);
                Err(Failed::For(StoreError::interrupted(late)))
            }
        }
    }

    /// A connection of one's own.
    pub(super) async fn connect(&self) -> Result<MultiplexedConnection, StoreError> {
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
            // That node is gone: the seed knows where the keys are now.
            self.lock().moved_to = None;
        }
        outcome
    }

    /// Learns from an error; says whether nothing was done and another node should be asked.
    pub(super) fn heed(
        &self,
        error: &RedisError,
        cell: &Arc<OnceCell<MultiplexedConnection>>,
    ) -> bool {
        match error.kind() {
            ErrorKind::Server(ServerErrorKind::Moved) => {
                let node = error.redirect_node().and_then(|(node, _)| {
                    let (host, port) = node.rsplit_once(':')?;
                    // Without a host it is another port of the same one.
                    let host = if host.is_empty() { self.host()? } else { host };
                    Some((host.to_owned(), port.parse().ok()?))
                });
                let known = node.is_some();
                self.lock().moved_to = node;
                self.drop_connection(cell);
                known
            }
            // After a failover the name leads to the new primary, a connection to the old one.
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

    /// For those with connections of their own.
    pub(super) fn heed_from_elsewhere(&self, error: &RedisError) {
        self.heed(error, &Arc::new(OnceCell::new()));
    }

    /// Later requests make another one; those that wait on it go on waiting.
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
    /// Nothing was done, and another node may do it.
    Elsewhere(StoreError),
    For(StoreError),
}

impl Failed {
    fn into_error(self) -> StoreError {
        let (Self::Elsewhere(error) | Self::For(error)) = self;
        error
    }
}

const AT_ONCE: usize = 1024;
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);
