//! The rules of refresh tokens through [`Sessions`](tower_jwt_auth::server::session::Sessions), on every
//! store: the very same tests, on the store that its URL names.

mod batch;
mod bound;
mod ended;
mod ending;
mod killed;
mod lost;
mod many;
mod node;
mod outage;
mod place;
mod refreshing;
mod round_trips;
mod secrets;
mod with_user;

/// A test of each rule on each store.
macro_rules! on_every_store {
    ($($module:ident: $($rule:ident)*;)*) => {
        mod memory {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$module::$rule(super::place::Place::memory()).await;
            })*)*
        }
        mod sqlite {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::$module::$rule(super::place::Place::sqlite().await).await;
            })*)*
        }
        mod postgres {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs PostgreSQL"]
            async fn $rule() {
                super::$module::$rule(super::place::Place::postgres().await).await;
            })*)*
        }
        mod redis {
            $($(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            #[ignore = "needs redis-server"]
            async fn $rule() {
                super::$module::$rule(super::place::Place::redis().await).await;
            })*)*
        }
    };
}

on_every_store! {
    refreshing:
        t1_hundred_refreshes_are_one_rotation
        t2_an_answer_that_was_lost_is_given_again
        t3_an_ancestor_ends_the_session_on_another_node
        t4_a_displaced_child_ends_the_session
        t5_what_was_not_written_here_asks_no_store
        t6_an_unused_session_ends_and_the_end_never_moves
        t13_a_store_that_lost_a_rotation_is_rolled_forward
        an_epoch_never_goes_back;
    ending:
        t10_signing_out_ends_this_device_the_others_or_all
        t11_another_node_refuses_soon
        t12_a_stale_feed_serves_or_is_503_and_never_401;
    bound:
        g41_a_bound_session_continues_with_its_key_only
        g41_hundred_refreshes_of_a_bound_session_are_one_rotation
        g41_a_bound_session_forgives_lost_answers
        g41_a_session_in_place_of_a_bound_one_has_its_key;
    lost:
        what_was_issued_before_is_revoked_to_the_second;
    killed:
        t8_a_process_killed_at_any_point_leaves_what_the_client_can_repeat;
    many:
        t1_thousand_contenders_over_four_nodes_are_one_rotation
        t15_a_user_has_fifty_sessions;
    outage:
        t9_a_store_that_is_away_is_503_and_no_cookie_goes;
    with_user:
        t8_a_refresh_with_a_user_that_is_cancelled_can_be_repeated
        u17_a_user_who_may_not_sign_in_uses_no_token_up
        u17_a_change_of_the_user_comes_before_or_after_a_refresh
        u17_roles_that_cannot_be_read_use_no_token_up
        u17_other_stores_and_sources_load_first;
    secrets:
        t7_no_issued_secret_is_in_the_dump;
}
