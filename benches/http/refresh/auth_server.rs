//! The process of the example. It ends when this value is dropped.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use tempfile::TempDir;

use crate::processor;

pub(super) struct AuthServer {
    process: Child,
    _output: BufReader<ChildStdout>,
    pub(super) address: String,
    _folder: TempDir,
}

impl AuthServer {
    pub(super) fn start(store: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = env::var_os("AUTH_SERVER").expect("AUTH_SERVER is the path of the example");
        let mut process = Command::new(program)
            .env_clear()
            .envs([("PORT", "0"), ("AUTH_STORE", store)])
            .env("AUTH_SEED_USER", format!("{NAME}:{PASSWORD}:editor"))
            // The other policies return the same token again for 30 seconds after a refresh, without a write.
            .env("AUTH_REFRESH_POLICY", "strict")
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example starts");
        let output = process.stdout.take().expect("it is piped");
        let mut output = BufReader::new(output);
        let mut line = String::new();
        let address = loop {
            line.clear();
            let read = output.read_line(&mut line).expect("it prints text");
            assert!(read > 0, "the example ended");
            if let Some(address) = line.trim().strip_prefix("listening on http://") {
                break address.to_owned();
            }
        };
        Self {
            process,
            _output: output,
            address,
            _folder: folder,
        }
    }

    /// Nanoseconds.
    pub(super) fn processor_time(&self) -> f64 {
        processor::time_of(&self.process)
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(super) const NAME: &str = "bench@example.org";
pub(super) const PASSWORD: &str = "a password of the bench";
