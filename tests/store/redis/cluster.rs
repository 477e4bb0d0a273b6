//! A cluster: one slot, and a client that follows the keys.

use tower_jwt_auth::store::{
    RedisStore, contract,
    port::{CreateOutcome, SessionStore},
};

use super::server::{CLUSTER, Redis};
use super::session;
use crate::support::{redis::Server, until::until};

/// A node of a cluster refuses a script whose keys lie in several slots.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn every_script_keeps_to_one_slot() {
    let cluster = Redis::start(CLUSTER).await;
    cluster.server.own_all_slots().await;
    contract::every_step_is_as_decided(&cluster).await;
    contract::t1_hundred_refreshes_are_one_rotation(&cluster).await;
    contract::t10_the_other_sessions_end(&cluster).await;
    contract::t10_all_sessions_end(&cluster).await;
    contract::t10_no_login_survives_the_end_of_all(&cluster).await;
    contract::t11_what_was_revoked_is_loaded(&cluster).await;
    contract::t11_news_arrive(&cluster).await;
    contract::all_text_is_kept(&cluster).await;
    contract::lists_hold_what_is_alive(&cluster).await;
    contract::what_ended_long_ago_is_purged(&cluster).await;
    contract::all_are_given_one_secret(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn any_node_leads_to_the_one_that_has_the_keys() {
    let owner = Server::start(CLUSTER).await;
    owner.own_all_slots().await;
    let mut other = Server::start(CLUSTER).await;
    let port = owner.port().to_string();
    let met: String = other
        .ask(&["CLUSTER", "MEET", "127.0.0.1", &port])
        .await
        .unwrap();
    assert_eq!(met, "OK");
    other.cluster_is_up().await;
    let store = RedisStore::new(&other.url()).unwrap();
    let created = store.create(session(1)).await.unwrap();
    assert!(
        matches!(created, CreateOutcome::Created(_)),
        "at the first try"
    );
    let set = store.revocations().unwrap();
    until(|| set.age().is_some()).await;

    // The node that was named is not needed any more.
    other.kill();
    assert!(store.load(session(1).id).await.unwrap().is_some());
}
