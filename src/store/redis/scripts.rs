//! The scripts.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident $($file:literal)+;)*) => {
        $(script! { $(#[$meta])* $name "clock.lua" "common.lua" $($file)+ })*
    };
}

macro_rules! script {
    ($(#[$meta:meta])* $name:ident $($file:literal)+) => {
        $(#[$meta])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!($(include_str!($file), "\n"),+))
        });
    };
}

// These run at every refresh, so they contain only the functions that they call.
script! { LOAD "clock.lua" "packed.lua" "session.lua" "load.lua" }
script! { LOAD_WITH_USER "clock.lua" "packed.lua" "session.lua" "load_with_user.lua" }
script! { ADVANCE_LIVE "clock.lua" "packed.lua" "postpone.lua" "any_subject.lua" "advance_live.lua" }
script! { ADVANCE_LIVE_WITH_USER "clock.lua" "packed.lua" "postpone.lua" "roles.lua" "advance_live.lua" }
script! { ADVANCE "clock.lua" "packed.lua" "session.lua" "postpone.lua" "advance.lua" }
script! { CONFIRM "clock.lua" "packed.lua" "session.lua" "confirm.lua" }

// These run at every login.
script! { THROTTLE_LOAD "clock.lua" "throttle/load.lua" }
script! { THROTTLE_SWAP "throttle/swap.lua" }
script! { THROTTLE_CLEAR "throttle/clear.lua" }

scripts! {
    CREATE "packed.lua" "create.lua";
    REVOKE "packed.lua" "session.lua" "revoke.lua";
    REPLACE "packed.lua" "session.lua" "replace.lua";
    REVOKE_OTHERS "packed.lua" "revoke_others.lua";
    REVOKE_ALL "revoke_all.lua";
    EPOCH "epoch.lua";
    LIST "packed.lua" "list.lua";
    APPEND "append.lua";
    PURGE "purge.lua";
    SECRET "secret.lua";
    VERSIONED_LOAD "versioned/load.lua";
    VERSIONED_SWAP "versioned/swap.lua";
    KEY_CREATE "api_keys/create.lua";
    KEY_LIST "api_keys/list.lua";
    KEY_FIND "api_keys/find.lua";
    KEY_ROLL "api_keys/roll.lua";
    KEY_REVOKE "api_keys/revoke.lua";
    KEY_REVOKE_ALL "api_keys/revoke_all.lua";
    KEY_TOUCH "api_keys/touch.lua";
    USER_FIND "users/find.lua";
    USER_FIND_BY_SUBJECT "users/find_by_subject.lua";
    USER_CREATE "users/create.lua";
    USER_SET "users/set.lua";
    USER_SET_FIRST_HASH "users/set_first_hash.lua";
    USER_VERIFY_EMAIL "users/verify_email.lua";
    USER_CHANGE_EMAIL "users/change_email.lua";
    USER_LIST "users/list.lua";
    ISSUE "one_time/issue.lua";
    REDEEM "one_time/redeem.lua";
    FORGET "one_time/forget.lua";
    CREDENTIAL_LINK "credentials/link.lua";
    CREDENTIAL_FIND "credentials/find.lua";
    CREDENTIAL_LIST "credentials/list.lua";
    CREDENTIAL_UPDATE "credentials/update.lua";
    CREDENTIAL_UNLINK "credentials/unlink.lua";
    CREDENTIAL_UNLINK_BESIDE "credentials/unlink_beside.lua";
    CREDENTIAL_UNLINK_ALL "credentials/unlink_all.lua";
}
