//! Requests that wait for the store.

use tower_jwt_auth::{error::AuthErrorKind, layer::api_key::ApiKeyLayer};

use crate::support::{
    answer::send,
    api_key::{Fault, Fixture, ask, issue, x_api_key},
    waiting::{
        Case, fits_around, holds_no_permit, is_called_ready,
        never_calls_a_clone_that_is_never_ready, releases_everything_if_it_is_cancelled,
        returns_the_readiness_error,
    },
};

/// One key is cached. The row of another one hangs.
async fn for_the_store() -> Case<ApiKeyLayer> {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let (cached, other) = (issue(&keys).await, issue(&keys).await);
    ask(&keys, cached.expose()).await.passes("cached");
    fixture.store.hold();
    let store = fixture.store;
    Case {
        layer: ApiKeyLayer::new(&keys),
        waits: Box::new(move || x_api_key(other.expose())),
        passes: Box::new(move || x_api_key(cached.expose())),
        release: Box::new(move || store.release()),
    }
}

#[tokio::test]
async fn q13_a_request_that_waits_for_the_store_holds_no_permit() {
    holds_no_permit(for_the_store().await).await;
}

#[tokio::test]
async fn q13_the_readiness_error_after_the_store_is_the_futures() {
    returns_the_readiness_error(for_the_store().await).await;
}

#[tokio::test]
async fn q13_no_service_is_called_unready_after_the_store() {
    is_called_ready(for_the_store().await).await;
}

#[tokio::test]
async fn q13_a_clone_that_never_becomes_ready_is_never_called_after_the_store() {
    never_calls_a_clone_that_is_never_ready(for_the_store().await).await;
}

#[tokio::test]
async fn q13_a_cancelled_request_that_waits_for_the_store_releases_everything() {
    releases_everything_if_it_is_cancelled(for_the_store().await).await;
}

#[tokio::test]
async fn q13_load_shed_and_buffer_behind_the_store_keep_their_promises() {
    fits_around(for_the_store().await).await;
}

#[tokio::test]
async fn a_panic_of_the_store_is_503_and_never_a_pass() {
    let fixture = Fixture::new();
    let keys = fixture.keys();
    let key = issue(&keys).await;
    fixture.store.fails(Some(Fault::Panic));
    for layer in [ApiKeyLayer::new(&keys), ApiKeyLayer::new(&keys).optional()] {
        let answer = send(layer, x_api_key(key.expose())).await;
        answer
            .is("503", "a panic")
            .because(AuthErrorKind::StoreUnavailable);
    }
}
