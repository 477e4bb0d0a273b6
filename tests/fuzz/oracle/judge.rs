//! The second opinion: whatever is accepted must pass these rules too.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{AUDIENCE, ISSUER, LEEWAY, NOW, json::Json};

/// Three canonical base64url segments, the last one the HMAC of the first two.
pub fn mac_is_good(token: &[u8], secret: &[u8]) -> bool {
    let segments: Vec<_> = token.split(|byte| *byte == b'.').collect();
    let [header, payload, signature] = segments[..] else {
        return false;
    };
    let decoded = [header, payload, signature].map(|segment| URL_SAFE_NO_PAD.decode(segment));
    let [Ok(first), Ok(second), Ok(signature)] = decoded else {
        return false;
    };
    let canonical = [(header, &first), (payload, &second)]
        .iter()
        .all(|(segment, bytes)| URL_SAFE_NO_PAD.encode(bytes).as_bytes() == *segment);
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("any length will do");
    mac.update(&token[..header.len() + 1 + payload.len()]);
    canonical && mac.verify_slice(&signature).is_ok()
}

/// RFC 7515 §4: one object, unique names, HS256, nothing critical, a type of access tokens.
pub fn header_is_good(json: &[u8]) -> bool {
    let Some(header) = Json::parse(json) else {
        return false;
    };
    let Some(members) = header.members() else {
        return false;
    };
    let unique = (0..members.len()).all(|one| {
        let (name, _) = &members[one];
        members[..one].iter().all(|(other, _)| other != name)
    });
    let get = |wanted: &str| find(members, wanted);
    let is_text = |name: &str| get(name).is_none_or(|value| value.text().is_some());
    let typ = get("typ").and_then(Json::text).map(str::to_ascii_lowercase);
    let usual = ["jwt", "at+jwt", "application/jwt", "application/at+jwt"];
    let nested = get("cty").and_then(Json::text).map(str::to_ascii_lowercase);
    unique
        && get("alg").and_then(Json::text) == Some("HS256")
        && ["typ", "kid", "cty"].into_iter().all(is_text)
        && ["crit", "b64", "zip"]
            .into_iter()
            .all(|name| get(name).is_none())
        && typ.is_none_or(|typ| usual.contains(&typ.as_str()))
        && !matches!(nested.as_deref(), Some("jwt" | "application/jwt"))
}

/// RFC 7519 §4.1: one object, every claim that decides something there once, of its type and good.
pub fn claims_are_good(json: &[u8]) -> bool {
    let Some(claims) = Json::parse(json) else {
        return false;
    };
    let Some(members) = claims.members() else {
        return false;
    };
    let get = |wanted: &str| find(members, wanted);
    members_are_good(members)
        && get("iss").and_then(Json::text) == Some(ISSUER)
        && get("cnf").is_none()
}

/// RFC 7662 §2.2: an active token, whose members are good claims. Its issuer may be absent, and its key has the
/// type of the token.
pub fn answer_is_good(json: &[u8]) -> bool {
    let Some(answer) = Json::parse(json) else {
        return false;
    };
    let Some(members) = answer.members() else {
        return false;
    };
    let once = |name: &str| members.iter().filter(|(other, _)| other == name).count() <= 1;
    let get = |wanted: &str| find(members, wanted);
    let binding = get("cnf").map(|cnf| {
        let has = |name: &str| {
            let members = cnf.members().unwrap_or_default();
            find(members, name).and_then(Json::text).is_some()
        };
        (has("jkt"), has("x5t#S256"))
    });
    let typ = match get("token_type") {
        None | Some(Json::Null) => None,
        Some(Json::Text(name)) => Some(name.to_ascii_lowercase()),
        Some(_) => return false,
    };
    let has_key = binding.is_some_and(|(key, _)| key);
    once("active")
        && get("active") == Some(&Json::Bool(true))
        && members_are_good(members)
        && get("iss").is_none_or(|issuer| issuer.text() == Some(ISSUER))
        && binding.is_none_or(|(key, certificate)| key || certificate)
        && typ.is_none_or(|typ| typ == if has_key { "dpop" } else { "bearer" })
}

/// The rules that claims and answers share.
fn members_are_good(members: &[(String, Json)]) -> bool {
    let once = |name: &str| members.iter().filter(|(other, _)| other == name).count() <= 1;
    let get = |wanted: &str| find(members, wanted);
    let is_text = |name: &str| get(name).is_none_or(|value| value.text().is_some());
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    let date = |name: &str| match get(name) {
        Some(Json::Number(number)) => number.parse::<f64>().ok().filter(|date| date.is_finite()),
        _ => None,
    };
    let is_date = |name: &str| get(name).is_none() || date(name).is_some();
    let audience = match get("aud") {
        Some(Json::Text(name)) => name == AUDIENCE,
        Some(Json::List(names)) => {
            names.iter().all(|name| name.text().is_some())
                && names.iter().any(|name| name.text() == Some(AUDIENCE))
        }
        _ => false,
    };
    let other_use = USES.iter().any(|name| match get(name) {
        Some(Json::Text(value)) => states_other_use(value),
        Some(Json::List(values)) => values.iter().filter_map(Json::text).any(states_other_use),
        _ => false,
    });
    let marks = ["events", "at_hash", "c_hash", "s_hash"];
    DECISIVE.into_iter().all(once)
        && ["exp", "nbf", "iat"].into_iter().all(is_date)
        && ["iss", "sub", "jti", "client_id", "azp", "sid"]
            .into_iter()
            .all(is_text)
        && date("exp").is_some_and(|exp| now < exp + leeway)
        && date("nbf").is_none_or(|nbf| nbf <= now + leeway)
        && audience
        && !other_use
        && marks.into_iter().all(|mark| get(mark).is_none())
}

fn find<'a>(members: &'a [(String, Json)], wanted: &str) -> Option<&'a Json> {
    let mut found = members.iter().filter(|(name, _)| name == wanted);
    found.next().map(|(_, value)| value)
}

/// Whether a value names another use than access, by one of its words or as a whole.
fn states_other_use(value: &str) -> bool {
    let plain: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    if value.is_ascii() && ["id", "idtoken", "idjwt"].contains(&plain.as_str()) {
        return true;
    }
    let letters: Vec<char> = value.chars().collect();
    // Once without regard to case, and once with a new word at each hump.
    let (mut coarse, mut fine) = (String::new(), String::new());
    for (at, one) in letters.iter().enumerate() {
        if !one.is_alphanumeric() {
            coarse.push(' ');
            fine.push(' ');
            continue;
        }
        let before = at.checked_sub(1).map(|at| letters[at]);
        let hump = one.is_uppercase()
            && (before.is_some_and(|before| !before.is_uppercase())
                || letters.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if hump {
            fine.push(' ');
        }
        coarse.push(one.to_ascii_lowercase());
        fine.push(one.to_ascii_lowercase());
    }
    let words = coarse.split(' ').chain(fine.split(' '));
    let mut stems = words.flat_map(|word| [Some(word), word.strip_suffix("token")]);
    value.eq_ignore_ascii_case("offline")
        || stems.any(|stem| stem.is_some_and(|stem| OTHER_USES.contains(&stem)))
}

const USES: [&str; 6] = ["typ", "type", "token_use", "token_type", "tokenType", "use"];

const OTHER_USES: [&str; 9] = [
    "refresh",
    "logout",
    "reset",
    "verification",
    "activation",
    "invitation",
    "magic",
    "mfa",
    "otp",
];

const DECISIVE: [&str; 27] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "azp",
    "sid",
    "scope",
    "scp",
    "cnf",
    "typ",
    "type",
    "token_use",
    "token_type",
    "tokenType",
    "use",
    "events",
    "at_hash",
    "c_hash",
    "s_hash",
    "idtyp",
    "gty",
    "roles",
    "role",
];
