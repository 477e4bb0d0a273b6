//! The device token.

use std::time::Duration;

use tower_jwt_auth::{
    secret::SecretKey,
    server::login::{DeviceTokens, PasswordHash},
    store::port::UserRecord,
    time::Timestamp,
};

fn tokens(byte: u8) -> DeviceTokens {
    DeviceTokens::new(&SecretKey::from_bytes([byte; 32]).unwrap())
}

fn user(subject: &str) -> UserRecord {
    UserRecord::new(subject).password(PasswordHash::new("$argon2id$right".to_owned()))
}

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

#[test]
fn a_device_is_trusted_for_a_year_and_for_one_subject() {
    let value = tokens(1).mint(&user("user-1"), NOW);
    let last = NOW.plus(DeviceTokens::MAX_AGE - Duration::from_millis(1));
    let device = tokens(1).read(value.expose(), last).unwrap();
    assert!(device.belongs_to(&user("user-1")));
    assert!(!device.belongs_to(&user("user-10")) && !device.belongs_to(&user("")));
    assert!(
        tokens(1)
            .read(value.expose(), NOW.plus(DeviceTokens::MAX_AGE))
            .is_none()
    );
    assert!(tokens(2).read(value.expose(), NOW).is_none());
    assert_ne!(
        value.expose(),
        tokens(1).mint(&user("user-1"), NOW).expose(),
        "each device has its own"
    );
}

#[test]
fn a_device_is_trusted_for_one_password() {
    let value = tokens(1).mint(&user("user-1"), NOW);
    let device = tokens(1).read(value.expose(), NOW).unwrap();
    let changed = user("user-1").password(PasswordHash::new("$argon2id$left".to_owned()));
    assert!(!device.belongs_to(&changed));
    let without = UserRecord::new("user-1");
    assert!(!device.belongs_to(&without));
    let value = tokens(1).mint(&without, NOW);
    let device = tokens(1).read(value.expose(), NOW).unwrap();
    assert!(!device.belongs_to(&without), "nobody signs in without one");
}

#[test]
fn a_rolled_secret_reads_the_devices_of_the_one_before() {
    let key = |byte| SecretKey::from_bytes([byte; 32]).unwrap();
    let old = tokens(1).mint(&user("user-1"), NOW);
    let rolled = DeviceTokens::new(&key(2).or_older(key(1)));
    let device = rolled.read(old.expose(), NOW).unwrap();
    assert!(device.belongs_to(&user("user-1")));
    assert!(
        tokens(2)
            .read(rolled.mint(&user("user-1"), NOW).expose(), NOW)
            .is_some()
    );
}

#[test]
fn a_value_with_any_character_changed_is_refused() {
    let value = tokens(1).mint(&user("user-1"), NOW).expose().clone();
    for at in 0..value.len() {
        for other in ['A', 'b', '0', '-', '_', '=', '+', ' ', '\0'] {
            if value.as_bytes()[at] != other as u8 {
                let mut changed = value.clone().into_bytes();
                changed[at] = other as u8;
                let changed = String::from_utf8(changed).unwrap();
                assert!(tokens(1).read(&changed, NOW).is_none(), "{at}: {changed}");
            }
        }
    }
    for other in [
        "",
        &value[1..],
        &value[..value.len() - 1],
        &format!("{value}="),
        &format!("{value}A"),
    ] {
        assert!(tokens(1).read(other, NOW).is_none(), "{other}");
    }
}
