//! The scripts.

use std::sync::LazyLock;

use redis::Script;

macro_rules! scripts {
    ($($(#[$meta:meta])* $name:ident $($file:literal)+;)*) => {
        $($(#[$meta])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("common.lua"), $("\n", include_str!($file)),+))
        });)*
    };
}

scripts! {
    CREATE "create.lua";
    PEEK "peek.lua";
    ROTATE "rotate.lua";
    CONFIRM "confirm.lua";
    REVOKE "revoke.lua";
    REVOKE_OTHERS "revoke_others.lua";
    REVOKE_ALL "revoke_all.lua";
    EPOCH "epoch.lua";
    LIST "list.lua";
    APPEND "append.lua";
    PURGE "purge.lua";
    SECRET "secret.lua";
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
    USER_LIST "users/list.lua";
    RESERVE "throttle/row.lua" "throttle/reserve.lua";
    SETTLE "throttle/row.lua" "throttle/settle.lua";
    CLEAR "throttle/clear.lua";
    ISSUE "one_time/issue.lua";
    REDEEM "one_time/redeem.lua";
    FORGET "one_time/forget.lua";
}
