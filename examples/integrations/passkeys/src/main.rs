//! A login server with passkeys: `cargo run -p passkeys`.

mod app;

use std::{error::Error, net::SocketAddr};

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let origin = "http://localhost:8080";
    let app = app::app(origin).await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("{origin}");
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    Ok(axum::serve(listener, app).await?)
}
