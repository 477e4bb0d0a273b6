//! Any header and any claims, signed by the issuer, or any bytes, as a logout token, and any form around a good one.
//!
//! The oracle repeats the rules of OpenID Connect Back-Channel Logout 1.0 §2.4 and §2.6 in the plainest way: a token
//! that ends a session must keep them all, and any other request must end none.

#![no_main]

use std::{
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{Request, StatusCode};
use libfuzzer_sys::{Corpus, fuzz_target};
use tokio::runtime::{Builder, Runtime};
use tower::Service;
use tower_jwt_auth::{
    Principal, Verifier,
    layer::logout::BackChannelLogout,
    revocation::{CheckResult, RevocationCheck, RevocationSet, RevocationStatus},
    test_util::TestIssuer,
};
use tower_jwt_auth_fuzz::{
    ISSUER, LEEWAY, NOW, SECRET, clock, issuer, json::Json, mac_is_good, verifier,
};

static OWN: LazyLock<TestIssuer> = LazyLock::new(issuer);
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let builder = &mut Builder::new_current_thread();
    builder.enable_time().build().unwrap()
});
static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| verifier().build().unwrap());

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else {
        return Corpus::Reject;
    };
    let form = match kind % 4 {
        // The form as it stands, with a good token where the input wants one.
        0 => match std::str::from_utf8(rest) {
            Ok(text) if text.contains("@token") => {
                let token = OWN.raw(HEADER, filled(CLAIMS).as_bytes());
                text.replace("@token", &token).into_bytes()
            }
            _ => rest.to_vec(),
        },
        // Edited claims under a good header.
        1 => match std::str::from_utf8(rest) {
            Ok(claims) => form_of(OWN.raw(HEADER, filled(claims).as_bytes()).as_bytes()),
            Err(_) => form_of(OWN.raw(HEADER, rest).as_bytes()),
        },
        // Both.
        2 => {
            let Ok(text) = std::str::from_utf8(rest) else {
                return Corpus::Reject;
            };
            let (header, claims) = text.split_once('\n').unwrap_or((text, "{}"));
            form_of(OWN.raw(header, filled(claims).as_bytes()).as_bytes())
        }
        // Bytes as the token.
        _ => form_of(rest),
    };
    let revoked = RevocationSet::local_with_clock(clock());
    let logout = BackChannelLogout::new(&VERIFIER, CLIENT, &revoked).unwrap();
    let form = String::from_utf8_lossy(&form).into_owned();
    let status = answer(logout, form.clone());
    if status == StatusCode::OK {
        let session = judge(form.as_bytes()).unwrap_or_else(|rule| panic!("{rule}: {form}"));
        assert!(!revoked.is_empty(), "nothing was ended");
        if let Some(session) = session {
            let caller = Principal::builder().session_id(&session).build();
            let ended = matches!(
                revoked.check(&caller),
                CheckResult::Ready(RevocationStatus::Revoked)
            );
            assert!(ended, "another session was ended");
        }
    } else {
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(revoked.is_empty(), "refused, and something was ended");
    }
    Corpus::Keep
});

/// Puts in what no fuzzer can guess.
fn filled(claims: &str) -> String {
    claims
        .replace("@event", EVENT)
        .replace("@iat", &NOW.to_string())
}

fn form_of(token: &[u8]) -> Vec<u8> {
    let mut form = b"logout_token=".to_vec();
    for byte in token {
        match byte.is_ascii_alphanumeric() || b"-_.".contains(byte) {
            true => form.push(*byte),
            false => form.extend(format!("%{byte:02x}").bytes()),
        }
    }
    form
}

fn answer(mut logout: BackChannelLogout, form: String) -> StatusCode {
    let request = Request::post("/backchannel-logout")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .unwrap();
    // The time limits of the service are those of a runtime.
    let _runtime = RUNTIME.enter();
    let mut answer = pin!(logout.call(request));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer.status(),
        Poll::Pending => panic!("nothing is to be waited for"),
    }
}

/// Returns the session of a form with a good logout token, or the first rule that the form breaks.
fn judge(form: &[u8]) -> Result<Option<String>, &'static str> {
    let pairs = form.split(|byte| *byte == b'&').map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        [(); 2].map(|()| decoded(halves.next().unwrap_or_default()))
    });
    let mut tokens = pairs.filter(|[name, _]| name == b"logout_token");
    let (Some([_, token]), None) = (tokens.next(), tokens.next()) else {
        return Err("one token");
    };
    if !mac_is_good(&token, SECRET) {
        return Err("signature");
    }
    let part = |index| -> Option<Json> {
        let segment = token.split(|byte| *byte == b'.').nth(index)?;
        Json::parse(&URL_SAFE_NO_PAD.decode(segment).ok()?)
    };
    judge_header(part(0).as_ref().and_then(Json::members).ok_or("JSON")?)?;
    judge_claims(part(1).as_ref().and_then(Json::members).ok_or("JSON")?)
}

fn judge_header(members: &[(String, Json)]) -> Result<(), &'static str> {
    if get(members, "alg")?.and_then(Json::text) != Some("HS256") {
        return Err("alg");
    }
    if let Some(typ) = get(members, "typ")? {
        let typ = typ.text().ok_or("typ")?.to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !["logout+jwt", "jwt"].contains(&typ) {
            return Err("typ");
        }
    }
    for name in ["crit", "b64", "zip"] {
        if get(members, name)?.is_some() {
            return Err("an extension");
        }
    }
    Ok(())
}

fn judge_claims(members: &[(String, Json)]) -> Result<Option<String>, &'static str> {
    let text = |name| match get(members, name)? {
        None => Ok(None),
        Some(Json::Text(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err("a text"),
    };
    let date = |name| match get(members, name)? {
        None => Ok(None),
        Some(Json::Number(number)) => Ok(Some(number.parse::<f64>().map_err(|_| "a number")?)),
        Some(_) => Err("a number"),
    };
    if text("iss")? != Some(ISSUER) {
        return Err("iss");
    }
    match get(members, "aud")? {
        Some(Json::Text(one)) if one == CLIENT => {}
        Some(Json::List(all)) if all.iter().any(|one| one.text() == Some(CLIENT)) => {}
        _ => return Err("aud"),
    }
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    let issued = date("iat")?.ok_or("iat")?;
    if issued > now + leeway || issued + 120.0 + leeway <= now {
        return Err("iat");
    }
    if date("exp")?.is_some_and(|exp| exp + leeway <= now) {
        return Err("exp");
    }
    let event = match get(members, "events")? {
        Some(Json::Object(events)) => get(events, EVENT)?,
        _ => return Err("events"),
    };
    if !matches!(event, Some(Json::Object(_))) {
        return Err("the event");
    }
    if get(members, "nonce")?.is_some() {
        return Err("an ID token");
    }
    text("jti")?.ok_or("jti")?;
    let (subject, session) = (text("sub")?, text("sid")?);
    if subject.is_none() && session.is_none() {
        return Err("sub or sid");
    }
    Ok(session.map(str::to_owned))
}

/// Returns a member that occurs at most once.
fn get<'a>(members: &'a [(String, Json)], wanted: &str) -> Result<Option<&'a Json>, &'static str> {
    let mut found = members.iter().filter(|(name, _)| name == wanted);
    match (found.next(), found.next()) {
        (one, None) => Ok(one.map(|(_, value)| value)),
        _ => Err("a member twice"),
    }
}

/// Decodes a half of a form's pair: `+` and `%XX`.
fn decoded(half: &[u8]) -> Vec<u8> {
    let digit = |at: usize| half.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut bytes, mut at) = (Vec::new(), 0);
    while let Some(byte) = half.get(at) {
        at += 1;
        let escaped = digit(at).zip(digit(at + 1));
        bytes.push(match (byte, escaped) {
            (b'+', _) => b' ',
            (b'%', Some((high, low))) => {
                at += 2;
                u8::try_from(high * 16 + low).unwrap()
            }
            (byte, _) => *byte,
        });
    }
    bytes
}

const CLIENT: &str = "shop-web";
const EVENT: &str = "http://schemas.openid.net/event/backchannel-logout";
const HEADER: &str = r#"{"alg":"HS256","typ":"logout+jwt"}"#;
const CLAIMS: &str = r#"{"iss":"https://as.example","aud":"shop-web","iat":@iat,"jti":"1","sid":"s1","events":{"@event":{}}}"#;
