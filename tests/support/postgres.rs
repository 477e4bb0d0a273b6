//! A PostgreSQL of the tests' own, in a temporary folder, on a private port.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use super::port::free_port;

/// Stopped and removed when it is dropped, and stopped when this process dies.
pub(crate) struct Server {
    pub(crate) port: u16,
    options: &'static [&'static str],
    running: Mutex<Option<Child>>,
    folder: TempDir,
}

impl Server {
    /// What reached the operating system survives a killed server, so nothing has to wait for
    /// disks.
    pub(crate) fn start() -> Self {
        Self::with(&["fsync=off"])
    }

    pub(crate) fn with(options: &'static [&'static str]) -> Self {
        // The server does not run as root, and may not enter every folder that root may.
        let place = match is_root() {
            true => PathBuf::from("/tmp"),
            false => std::env::temp_dir(),
        };
        let folder = tempfile::Builder::new()
            .prefix("tower-jwt-auth-pg-")
            .tempdir_in(place)
            .unwrap();
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(folder.path()));
        }
        let mut server = Self {
            port: free_port(),
            options,
            running: Mutex::new(None),
            folder,
        };
        // Whatever languages this machine speaks.
        run(unprivileged(&program("initdb"))
            .args(["--username=postgres", "--auth=trust", "--no-sync"])
            .args(["--locale=C", "--encoding=UTF8", "-D"])
            .arg(server.data()));
        let started = Instant::now();
        while !server.comes_up(started) {
            // Somebody may have taken the port meanwhile.
            server.port = free_port();
        }
        server
    }

    /// Starts it again, and waits until it takes connections.
    pub(crate) fn resume(&self) {
        let started = Instant::now();
        // It ends by itself where one of the killed is not quite dead.
        while !self.comes_up(started) {}
    }

    /// Whether it takes connections; `false` where it ended instead.
    fn comes_up(&self, started: Instant) -> bool {
        let mut running = lock(&self.running);
        assert!(running.is_none(), "it is running");
        let mut shell = self.launch();
        while !self.answers() {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{}",
                self.log()
            );
            if shell.try_wait().unwrap().is_some() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *running = Some(shell);
        true
    }

    fn launch(&self) -> Child {
        // The shell ends the server when its input ends, also where this process was killed, and
        // with the server.
        let script = r#""$@" >>"$LOG" 2>&1 & server=$!
            (read -r _; kill -QUIT $server) <&3 & reader=$!
            wait $server; kill $reader"#;
        let mut shell = unprivileged(Path::new("/bin/sh"));
        shell
            .args(["-c", &format!("exec 3<&0; {script}"), "sh"])
            .arg(program("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            // The path of one in a folder for temporary files may be too long.
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=500"])
            .args(self.options.iter().flat_map(|option| ["-c", option]))
            .env("LOG", self.folder.path().join("log"))
            .stdin(Stdio::piped())
            .stderr(Stdio::null());
        shell.spawn().unwrap()
    }

    /// On a thread of its own, because a test's runtime does not let another one block here.
    fn answers(&self) -> bool {
        let (url, own) = (self.url(), self.data());
        let connect = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            // Somebody else's would answer as well.
            let found = async {
                let mut connection = PgConnection::connect(&url).await?;
                let data = sqlx::query_scalar("SELECT current_setting('data_directory')");
                let data: String = data.fetch_one(&mut connection).await?;
                connection.close().await?;
                Ok::<_, sqlx::Error>(data)
            };
            runtime
                .block_on(found)
                .is_ok_and(|data| Path::new(&data) == own)
        };
        std::thread::spawn(connect).join().unwrap()
    }

    /// Stops it with no chance to say goodbye: the postmaster and all of its children.
    pub(crate) fn kill(&self) {
        let mut shell = lock(&self.running).take().expect("it is running");
        let pid = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let pid = pid.lines().next().unwrap().to_owned();
        // So that it starts no other one meanwhile.
        signal("STOP", [&*pid]);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let all = std::iter::once(pid.as_str()).chain(children.split_whitespace());
        // One that has just ended by itself is no error.
        signal("KILL", all);
        drop(shell.stdin.take());
        shell.wait().unwrap();
        let _ = fs::remove_file(self.data().join("postmaster.pid"));
    }

    /// Stops it as an administrator does who does not wait.
    pub(crate) fn stop(&self) {
        if let Some(mut shell) = lock(&self.running).take() {
            let _ = shell.stdin.take().map(|mut input| input.write_all(b"\n"));
            let _ = shell.wait();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// From the path, or from where Debian puts the newest one.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .map(|version| version.unwrap().path().join("bin"))
        .collect();
    folders.sort();
    folders.reverse();
    let found = std::env::split_paths(&path)
        .chain(folders)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is neither in the path nor in /usr/lib/postgresql"))
}

fn lock(running: &Mutex<Option<Child>>) -> MutexGuard<'_, Option<Child>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By the shell's own command: a minimal system has no program of that name.
fn signal<'a>(name: &str, to: impl IntoIterator<Item = &'a str>) {
    let script = r#"kill -s "$@""#;
    let mut shell = Command::new("sh");
    let _ = shell.args(["-c", script, "sh", name]).args(to).status();
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
        .arg(program)
        .current_dir("/");
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}
