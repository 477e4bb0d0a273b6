//! The form of API keys and the verdict on one.

use std::time::Duration;

use tower_jwt_auth::{
    layer::api_key::{ApiKeyFormat, ApiKeyRecord, ApiKeyRefusal, PreviousSecret},
    time::Timestamp,
};

const NOW: Timestamp = Timestamp::from_millis(1_767_225_600_000);

fn format() -> ApiKeyFormat {
    ApiKeyFormat::new("acme_live").unwrap()
}

#[test]
fn v1_a_key_is_prefix_identifier_secret_and_checksum() {
    let key = format().mint();
    let text = key.expose();
    let parts: Vec<_> = text.rsplitn(3, '_').collect();
    assert_eq!(parts[2], "acme_live");
    assert_eq!((parts[1].len(), parts[0].len()), (10, 43 + 6));
    assert_eq!(parts[1], key.id().as_str());
    assert!(
        text.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    );
    assert_ne!(text, format().mint().expose());
    assert!(format().claims(text) && !format().claims("acme_livekey") && !format().claims("a.b.c"));
}

#[test]
fn v1_a_wrong_checksum_or_form_needs_no_store() {
    let key = format().mint();
    let text = key.expose();
    assert!(format().parse(text).is_some());
    // Every single wrong character is noticed.
    for at in 0..text.len() {
        for other in ['a', 'Z', '0', '_'] {
            if text.as_bytes()[at] != other as u8 {
                let mut changed = text.as_bytes().to_vec();
                changed[at] = other as u8;
                let changed = String::from_utf8(changed).unwrap();
                assert!(format().parse(&changed).is_none(), "{at}: {changed}");
            }
        }
    }
    assert!(
        ApiKeyFormat::new("acme_test")
            .unwrap()
            .parse(text)
            .is_none()
    );
    assert!(ApiKeyFormat::new("acme").unwrap().parse(text).is_none());
    let long = format!("{text}{}", "a".repeat(100_000));
    for other in [
        "",
        "acme_live_",
        &text[1..],
        &text[..text.len() - 1],
        &format!("{text}0"),
        &long,
    ] {
        assert!(format().parse(other).is_none());
    }
}

#[test]
fn v1_only_prefixes_that_can_be_told_apart_are_taken() {
    for good in ["ab", "acme_live", "a1_b2_c3"] {
        assert!(ApiKeyFormat::new(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "a",
        "_a",
        "a_",
        "Acme",
        "ac-me",
        "acmé",
        &"a".repeat(33),
    ] {
        assert!(ApiKeyFormat::new(bad).is_err(), "{bad}");
    }
}

#[test]
fn v2_only_a_digest_is_kept_and_nothing_of_the_secret_is_printed() {
    let key = format().mint();
    let secret = key.expose().rsplit('_').next().unwrap();
    let row = ApiKeyRecord::of(&key, "user-1", NOW);
    let presented = format().parse(key.expose()).unwrap();
    assert_eq!(row.check(&presented, NOW), Ok(()));
    let printed = format!("{key:?} {row:?} {presented:?} {:?}", key.digest());
    assert!(!printed.contains(&secret[..8]), "{printed}");
    let digest: String = key
        .digest()
        .as_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert!(!printed.contains(&digest), "{printed}");
    assert!(
        !printed.contains(&format!("{:?}", key.digest().as_bytes())),
        "{printed}"
    );
    // What a list shows is enough to tell keys apart and far from enough to use one.
    assert_eq!(row.display_start, key.expose()[..9 + 1 + 10 + 1 + 4]);
}

#[test]
fn v2_the_secret_of_another_key_opens_nothing() {
    let (mine, theirs) = (format().mint(), format().mint());
    let row = ApiKeyRecord::of(&mine, "user-1", NOW);
    let presented = format().parse(theirs.expose()).unwrap();
    assert_eq!(row.check(&presented, NOW), Err(ApiKeyRefusal::WrongSecret));
    // The right identifier with another secret.
    let guessed = format()
        .parse(format().mint_for(mine.id().clone()).expose())
        .unwrap();
    assert_eq!(row.check(&guessed, NOW), Err(ApiKeyRefusal::WrongSecret));
}

#[test]
fn v3_only_who_holds_the_secret_learns_that_it_is_too_late() {
    let key = format().mint();
    let presented = format().parse(key.expose()).unwrap();
    let guessed = format()
        .parse(format().mint_for(key.id().clone()).expose())
        .unwrap();
    let mut row = ApiKeyRecord::of(&key, "user-1", NOW);
    row.expires_at = Some(NOW.plus(Duration::from_secs(60)));
    let end = NOW.plus(Duration::from_secs(60));
    assert_eq!(
        row.check(&presented, NOW.plus(Duration::from_millis(59_999))),
        Ok(())
    );
    assert_eq!(row.check(&presented, end), Err(ApiKeyRefusal::Expired));
    assert_eq!(row.check(&guessed, end), Err(ApiKeyRefusal::WrongSecret));
    row.revoked_at = Some(NOW);
    assert_eq!(row.check(&presented, NOW), Err(ApiKeyRefusal::Revoked));
    assert_eq!(row.check(&guessed, NOW), Err(ApiKeyRefusal::WrongSecret));
}

#[test]
fn v5_two_secrets_live_while_a_key_is_rolled() {
    let old = format().mint();
    let new = format().mint_for(old.id().clone());
    let until = NOW.plus(Duration::from_secs(3600));
    let mut row = ApiKeyRecord::of(&new, "user-1", NOW);
    row.previous = Some(PreviousSecret::new(*old.digest(), until));
    let [by_old, by_new] = [&old, &new].map(|key| format().parse(key.expose()).unwrap());
    assert_eq!(row.check(&by_old, NOW), Ok(()));
    assert_eq!(row.check(&by_new, NOW), Ok(()));
    assert_eq!(row.check(&by_old, until), Err(ApiKeyRefusal::WrongSecret));
    assert_eq!(row.check(&by_new, until), Ok(()));
    row.revoked_at = Some(NOW);
    assert_eq!(row.check(&by_old, NOW), Err(ApiKeyRefusal::Revoked));
}
