//! tonic: the caller in a unary and in a streaming call.
//!
//! The service is gRPC's health service, because it needs no `protoc`. Use the layer with yours in the same way.
//!
//! ```sh
//! export JWT_SECRET_KEY=$(openssl rand -hex 32)
//! cargo run --example tonic --features tonic
//!
//! # The first lines of `examples/axum.rs` make a token. Five zero bytes are an empty message.
//! call() {
//!     printf '\0\0\0\0\0' | curl -i --http2-prior-knowledge --data-binary @- --output - "$@" \
//!         -H 'content-type: application/grpc' -H 'te: trailers' \
//!         http://127.0.0.1:3000/grpc.health.v1.Health/Check
//! }
//! call                                          # grpc-status: 16
//! call -H "Authorization: Bearer $token"        # grpc-status: 0
//! ```

use std::error::Error;

use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    codegen::{BoxStream, async_trait, tokio_stream},
    transport::{self, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use tower_jwt_auth::{JwtAuthLayer, JwtSettings, tonic::RequestExt};

struct Service;

#[async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        // The errors of the crate are a `Status`.
        let caller = request.principal()?;
        println!("check by {:?}", caller.subject().unwrap_or("nobody"));
        Ok(Response::new(serving()))
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let caller = request.principal()?;
        caller.require_role("admin")?;
        // A stream outlives its request. A real one ends at `caller.expires_at()`.
        Ok(Response::new(Box::pin(tokio_stream::once(Ok(serving())))))
    }
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

pub(crate) async fn serve(
    listener: TcpListener,
    auth: JwtAuthLayer,
) -> Result<(), transport::Error> {
    // For one service only: `.add_service(auth.layer(HealthServer::new(Service)))`.
    Server::builder()
        .layer(auth)
        .add_service(HealthServer::new(Service))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let settings = JwtSettings::from_env()?;
    let listener = TcpListener::bind(settings.address()).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(serve(listener, settings.layer()?).await?)
}
