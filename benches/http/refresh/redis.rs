//! A Redis of the bench: a private port on loopback, a temporary folder.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::port::free_port;

/// Stopped and removed when it is dropped.
pub(super) struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

impl Server {
    pub(super) fn start() -> Self {
        let started = Instant::now();
        let in_time = || started.elapsed() < Duration::from_secs(60);
        while in_time() {
            // Another process may have taken the port in the meantime.
            let mut server = Self::launch(free_port());
            while in_time() && matches!(server.process.try_wait(), Ok(None)) {
                if server.answers() {
                    return server;
                }
                thread::sleep(Duration::from_millis(20));
            }
        }
        panic!("redis-server does not answer")
    }

    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn launch(port: u16) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "yes", "--dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self {
            process,
            port,
            _folder: folder,
        }
    }

    /// Returns `true` if this server answers on the port, and not another one.
    fn answers(&self) -> bool {
        let own = format!("process_id:{}\r\n", self.process.id());
        self.information().is_ok_and(|text| text.contains(&own))
    }

    fn information(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"INFO server\r\nQUIT\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
