//! In PostgreSQL.

use tower_jwt_auth::store::{
    PostgresStore,
    contract::{Fixture, Handles},
};

#[cfg(feature = "aws-lc-rs")]
use super::mails;
use super::{contracts, nodes};
use crate::{patient::Patient, postgres::Nodes};

impl Handles for Nodes {
    type Store = Patient<PostgresStore>;

    fn store(&self) -> Patient<PostgresStore> {
        Fixture::store(self)
    }
}

contracts!([#[ignore = "needs PostgreSQL"]] crate::postgres::Nodes::start().await);

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_lockout_holds_across_two_nodes() {
    let nodes = Nodes::start().await;
    nodes::lockout_holds_across_both(nodes.stores.clone()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn u3_u4_guesses_on_four_nodes_leave_room_for_the_owner() {
    let nodes = Nodes::start().await;
    nodes::guesses_leave_room_for_the_owner(nodes.four().await).await;
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn u27_a_link_works_once_on_both_nodes() {
    let nodes = Nodes::start().await;
    mails::a_link_works_once_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "aws-lc-rs")]
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn u29_mails_to_one_address_are_limited_on_both_nodes() {
    let nodes = Nodes::start().await;
    mails::mails_to_one_address_are_limited_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "totp")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn u24_u33_second_factors_hold_on_two_nodes() {
    let nodes = Nodes::alone().await;
    super::factors::second_factors_hold_on_both(nodes.stores.clone()).await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn u34_nothing_of_another_person_outlives_the_take_over() {
    let nodes = Nodes::start().await;
    super::take_over::nothing_of_another_person_outlives_the_take_over(nodes.stores[0].clone())
        .await;
}

#[cfg(all(feature = "aws-lc-rs", feature = "totp"))]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL"]
async fn u24_u25_u27_u32_u33_u39_u46_every_token_works_once_on_both_nodes() {
    let nodes = Nodes::start().await;
    super::tokens::every_token_works_once_on_both_nodes(nodes.stores.clone()).await;
}

#[cfg(feature = "aws-lc-rs")]
super::credentials::credentials!([#[ignore = "needs PostgreSQL"]] Nodes::start().await => |nodes: &Nodes| nodes.stores[0].clone());
