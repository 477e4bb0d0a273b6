//! A Redis of the test's own: a private port, a temporary folder.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use redis::{Client, FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;

use super::port::free_port;

pub(crate) struct Server {
    pub(crate) process: Child,
    pub(crate) port: u16,
    pub(crate) folder: TempDir,
    options: &'static [&'static str],
}

/// Every write is on disk before it is answered.
pub(crate) const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];
pub(crate) const FORGETFUL: &[&str] = &[];

impl Server {
    pub(crate) async fn start(options: &'static [&'static str]) -> Self {
        loop {
            // Somebody may have taken the port meanwhile.
            if let Some(server) = Self::try_on(free_port(), options).await {
                return server;
            }
        }
    }

    pub(crate) async fn try_on(port: u16, options: &'static [&'static str]) -> Option<Self> {
        let folder = tempfile::Builder::new()
            .prefix("redis-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let mut server = Self {
            process: launch(port, folder.path(), options),
            port,
            folder,
            options,
        };
        server.answers().await.then_some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// As `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// After [`kill`](Self::kill), in the same folder.
    pub(crate) async fn restart(&mut self) {
        self.process = launch(self.port, self.folder.path(), self.options);
        assert!(self.answers().await, "it cannot listen again");
    }

    pub(crate) async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = Client::open(self.url())?;
        client.get_multiplexed_async_connection().await
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await
    }

    /// Waits until the server has loaded its data; `false` where it ended instead.
    async fn answers(&mut self) -> bool {
        let own = format!("process_id:{}\r\n", self.process.id());
        let started = Instant::now();
        while self.process.try_wait().unwrap().is_none() {
            // Somebody else's would answer as well.
            let info = self.ask::<String>(&["INFO", "server"]).await;
            if info.is_ok_and(|info| info.contains(&own))
                && self.ask::<String>(&["PING"]).await.is_ok()
            {
                return true;
            }
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "redis-server does not answer; its folder is {:?}",
                self.folder
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn launch(port: u16, folder: &Path, options: &[&str]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--dir"])
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed")
}
