//! Claims that state another use of a token than access ([RFC 8725
//! §3.12](https://www.rfc-editor.org/rfc/rfc8725#section-3.12)).

use crate::error::shown;

/// The other use that a claim's value states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherUse {
    /// An ID token.
    Id,
    /// Any other use: a refresh token, a password reset, a second factor.
    Other,
}

impl OtherUse {
    /// Returns the use that `value` states. Returns `None` for access and for words without a
    /// meaning here.
    pub(super) fn named_by(value: &str) -> Option<Self> {
        if is_id_token(value) {
            return Some(Self::Id);
        }
        // Refresh tokens of Keycloak that outlive the session.
        let offline = value.eq_ignore_ascii_case("offline");
        let named = || {
            value
                .split(|one: char| !one.is_alphanumeric())
                .any(|part| is_other_word(part) || humps(part).any(is_other_word))
        };
        (offline || named()).then_some(Self::Other)
    }
}

/// A claim that marks a token as other than an access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    claim: &'static str,
    value: Option<Box<str>>,
}

impl Mark {
    /// Creates a mark for a claim whose presence marks the token.
    pub(super) fn present(claim: &'static str) -> Self {
        Self { claim, value: None }
    }

    /// Creates a mark for a claim whose value marks the token.
    pub(super) fn value(claim: &'static str, value: &str) -> Self {
        Self {
            claim,
            value: Some(shown(value).into()),
        }
    }
}

impl std::fmt::Display for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.value, self.claim) {
            (Some(value), claim) => write!(f, "the claim `{claim}` is `{value}`"),
            (None, "events") => f.write_str("the claim `events` marks a security event token"),
            (None, claim) => write!(f, "the claim `{claim}` marks an ID token"),
        }
    }
}

impl std::error::Error for Mark {}

fn is_id_token(value: &str) -> bool {
    let letters = || {
        let letters = value.bytes().filter(u8::is_ascii_alphanumeric);
        letters.map(|one| one.to_ascii_lowercase())
    };
    value.is_ascii()
        && ["id", "idtoken", "idjwt"]
            .iter()
            .any(|id| letters().eq(id.bytes()))
}

/// Returns `true` for a word of the list, also with the suffix `token`, as in `refreshtoken`.
fn is_other_word(word: &str) -> bool {
    const TOKEN: &str = "token";
    let stem = word.len().checked_sub(TOKEN.len()).and_then(|at| {
        let (stem, end) = word.split_at_checked(at)?;
        end.eq_ignore_ascii_case(TOKEN).then_some(stem)
    });
    WORDS.iter().any(|other| {
        other.eq_ignore_ascii_case(word)
            || stem.is_some_and(|stem| other.eq_ignore_ascii_case(stem))
    })
}

/// Returns the words of a name in camel case: `pre`, `MFA` and `Token` of `preMFAToken`.
fn humps(name: &str) -> impl Iterator<Item = &str> {
    let mut rest = name;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut chars = rest.char_indices().peekable();
        let mut end = rest.len();
        let mut previous: Option<char> = None;
        while let Some((at, one)) = chars.next() {
            let starts_next = match previous {
                Some(previous) if one.is_uppercase() => {
                    let before_lower = chars.peek().is_some_and(|(_, next)| next.is_lowercase());
                    !previous.is_uppercase() || before_lower
                }
                _ => false,
            };
            if starts_next {
                end = at;
                break;
            }
            previous = Some(one);
        }
        let (word, others) = rest.split_at_checked(end)?;
        rest = others;
        Some(word)
    })
}

/// The uses that issuers state in tokens signed with the key of their access tokens.
const WORDS: [&str; 9] = [
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_at_case() {
        for (name, words) in [
            ("preMFAToken", &["pre", "MFA", "Token"][..]),
            ("refresh", &["refresh"]),
            ("OTP", &["OTP"]),
            ("Otp2Code", &["Otp2", "Code"]),
            ("éÉa", &["é", "Éa"]),
            ("", &[]),
        ] {
            assert_eq!(humps(name).collect::<Vec<_>>(), words, "{name}");
        }
    }

    #[test]
    fn r4_a_value_names_another_use_by_a_whole_word() {
        for value in ["id", "Id_Token", "ID-TOKEN", "id+jwt"] {
            assert_eq!(OtherUse::named_by(value), Some(OtherUse::Id), "{value}");
        }
        for value in [
            "rEFRESH",
            "urn:x:refresh_token",
            "Offline",
            "preMFAToken",
            "otp code",
        ] {
            assert_eq!(OtherUse::named_by(value), Some(OtherUse::Other), "{value}");
        }
        for value in [
            "", "_", "identity", "idp", "magical", "token", "Token", "ïd", "mfà", "robotp",
        ] {
            assert_eq!(OtherUse::named_by(value), None, "{value}");
        }
    }

    #[test]
    fn a_shown_value_is_escaped_and_cut() {
        let mark = Mark::value("use", &"\u{202e}\n".repeat(100)).to_string();
        assert!(mark.is_ascii() || mark.contains('…'), "{mark}");
        assert!(
            !mark.contains(['\n', '\u{202e}']) && mark.len() < 200,
            "{mark}"
        );
    }
}
