//! The gateway of a test, and an application that counts.

use std::{
    convert::Infallible,
    env,
    fs::{self, File},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::configurations::{Gateway, Place};
use crate::support::port::free_port;

/// A gateway that listens; killed when this is dropped.
pub(crate) struct Running {
    process: Child,
    folder: TempDir,
    pub(crate) places: Vec<Place>,
}

impl Running {
    /// Starts a gateway with one place for each of these.
    pub(crate) async fn start(
        gateway: Gateway,
        asked: &[(SocketAddr, &'static str)],
        app: SocketAddr,
    ) -> Self {
        let mut complaints = String::new();
        for _ in 0..5 {
            let place = |&(auth, path): &(SocketAddr, &'static str)| Place {
                ports: [free_port(), free_port()],
                auth,
                path,
            };
            let places = asked.iter().map(place).collect();
            let mut running = Self::launch(gateway, places, app);
            if running.listens().await {
                return running;
            }
            // Somebody may have taken a port.
            complaints = fs::read_to_string(running.folder.path().join("log")).unwrap();
        }
        panic!("{gateway:?} does not start: {complaints}");
    }

    fn launch(gateway: Gateway, places: Vec<Place>, app: SocketAddr) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("gateway-")
            .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .unwrap();
        let root = folder.path().canonicalize().unwrap();
        let configuration = root.join("configuration");
        fs::write(&configuration, gateway.configuration(&places, app)).unwrap();
        let mut command = command(gateway, &root, &configuration);
        let process = command
            .env("HOME", &root)
            .env("XDG_CONFIG_HOME", &root)
            .env("XDG_DATA_HOME", &root)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(root.join("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self {
            process,
            folder,
            places,
        }
    }

    /// Waits until every port answers; `false` if the process ends before.
    async fn listens(&mut self) -> bool {
        let since = Instant::now();
        for port in self.places.iter().flat_map(|place| place.ports) {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                if self.process.try_wait().unwrap().is_some() {
                    return false;
                }
                assert!(
                    since.elapsed().as_secs() < 60,
                    "the gateway does not listen"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // The port may be somebody else's.
        self.process.try_wait().unwrap().is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn command(gateway: Gateway, root: &Path, configuration: &Path) -> Command {
    let program = |variable, default| {
        Command::new(env::var(variable).unwrap_or_else(|_| String::from(default)))
    };
    match gateway {
        Gateway::Nginx => {
            let mut nginx = program("NGINX", "/usr/sbin/nginx");
            nginx.args(["-e", "stderr", "-p"]).arg(root);
            nginx.arg("-c").arg(configuration);
            nginx
        }
        Gateway::Caddy => {
            let mut caddy = program("CADDY", "caddy");
            caddy.args(["run", "--adapter", "caddyfile", "--config"]);
            caddy.arg(configuration);
            caddy
        }
        Gateway::Envoy | Gateway::EnvoyHttp2 => {
            let mut envoy = program("ENVOY", "envoy");
            envoy.args(["--disable-hot-restart", "--concurrency", "1"]);
            envoy.args(["--log-level", "warn", "--config-yaml"]);
            envoy.arg(fs::read_to_string(configuration).unwrap());
            envoy
        }
    }
}

/// The application behind the gateway: it counts what reaches it.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    reached: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Application {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let reached = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&reached);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let counter = Arc::clone(&counter);
                let service = service_fn(move |_: Request<Incoming>| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let response = Response::new(Full::new(Bytes::from_static(b"reached")));
                    std::future::ready(Ok::<_, Infallible>(response))
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            address,
            reached,
            task,
        }
    }

    /// The requests that reached it since the last call.
    pub(crate) fn reached(&self) -> usize {
        self.reached.swap(0, Ordering::SeqCst)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}
