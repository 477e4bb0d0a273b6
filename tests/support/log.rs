//! The log of a thread.

use std::{
    io,
    sync::{Arc, Mutex, Once},
};

use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::fmt::format::FmtSpan;

/// What is written to the log on this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures this thread's log until the guard is dropped.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        Self::capture(Level::INFO, FmtSpan::NONE)
    }

    pub(crate) fn capture(level: Level, spans: FmtSpan) -> (Self, DefaultGuard) {
        // While this were the only subscriber, a line that is first reached on another thread would be
        // switched off for all threads.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| {
            // Enabled for every line, and formats none.
            let everything = tracing_subscriber::registry();
            tracing::subscriber::set_global_default(everything).unwrap();
        });
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(level)
            .with_span_events(spans)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    pub(crate) fn lines_with(&self, part: &str) -> usize {
        let text = self.text();
        text.lines().filter(|line| line.contains(part)).count()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
