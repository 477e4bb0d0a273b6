//! What somebody who takes a copy of the store has.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use tower_jwt_auth::server::{refresh::RefreshPolicy, session::TokenPair};

use super::{
    node::{Node, SECRET},
    place::Place,
};

pub(super) async fn t7_no_issued_secret_is_in_the_dump(place: Place) {
    let node = Node::over(place.node().await, RefreshPolicy::balanced());
    let first = node.sign_in("alice").await;
    let id = first.session_id();
    let mut issued = vec![node.refresh(&first).await];
    place.age(id, std::time::Duration::from_secs(31)).await;
    issued.push(node.refresh(&issued[0]).await);
    assert_eq!(node.refused(&first).await, "refresh_token_reused");
    issued.push(first);
    for logout in [false, true] {
        let pair = node.sign_in("alice").await;
        issued.push(node.refresh(&pair).await);
        if logout {
            node.sessions
                .revoke_token(pair.refresh_token().expose())
                .await
                .unwrap();
        }
        issued.push(pair);
    }
    // Logs of what was written are part of it, so it holds what went before as well.
    let dump = place.dump("alice", id).await;

    // The search finds what is there.
    assert!(!found(&dump, &spellings(id.as_bytes())).is_empty());
    let secrets = issued.iter().flat_map(secrets).chain(spellings(&SECRET));
    let found = found(&dump, &secrets.collect::<Vec<_>>());
    assert!(found.is_empty(), "{found:?}");
}

/// The tokens, what is in them, and what makes them.
fn secrets(pair: &TokenPair) -> Vec<Vec<u8>> {
    let (access, refresh) = (pair.access_token().expose(), pair.refresh_token().expose());
    // `rt1_`, the version, the key's number, the family, …, the checksum.
    let body = &refresh[4..refresh.len() - 6];
    let bytes = URL_SAFE_NO_PAD.decode(body).unwrap();
    let family = &bytes[2..18];
    let tag = &bytes[bytes.len() - 16..];
    let signature = access.rsplit_once('.').unwrap().1;
    let mut found: Vec<_> = [access, refresh, body, signature]
        .map(|text| text.as_bytes().to_vec())
        .into();
    found.extend([&bytes, family, tag].into_iter().flat_map(spellings));
    found.extend(spellings(&URL_SAFE_NO_PAD.decode(signature).unwrap()));
    found
}

fn spellings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let texts = [
        hex.to_uppercase(),
        hex,
        URL_SAFE_NO_PAD.encode(bytes),
        STANDARD.encode(bytes),
    ];
    let texts = texts.into_iter().map(String::into_bytes);
    texts.chain([bytes.to_vec()]).collect()
}

/// Those that are anywhere in the dump, looked for at once: a server's files are large.
fn found(dump: &[Vec<u8>], needles: &[Vec<u8>]) -> Vec<String> {
    let mut by_start = vec![Vec::new(); 1 << 16];
    for needle in needles {
        by_start[start_of(needle)].push(needle);
    }
    let mut found = Vec::new();
    for file in dump {
        for at in 0..file.len().saturating_sub(1) {
            for needle in &by_start[start_of(&file[at..])] {
                if file[at..].starts_with(needle) {
                    found.push(String::from_utf8_lossy(needle).into_owned());
                }
            }
        }
    }
    found
}

fn start_of(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}
