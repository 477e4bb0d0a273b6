//! A strict reader of `WWW-Authenticate`.

/// One challenge of a `WWW-Authenticate` field (RFC 9110 §11.3).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) scheme: String,
    pub(crate) token68: Option<String>,
    pub(crate) parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(own, _)| own == name);
        let value = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} more than once");
        value
    }

    /// RFC 6750 §3.
    #[track_caller]
    pub(super) fn assert_sound(&self) {
        assert_eq!(self.scheme, "Bearer");
        assert!(self.token68.is_none() && !self.parameters.is_empty());
        for (position, (name, _)) in self.parameters.iter().enumerate() {
            let earlier = &self.parameters[..position];
            assert!(
                earlier.iter().all(|(other, _)| other != name),
                "{name} twice"
            );
        }
        let plain = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        for name in ["error", "error_description"] {
            let value = self.get(name).unwrap_or_default();
            assert!(value.bytes().all(|byte| byte == b' ' || plain(byte)));
        }
        let scope = self.get("scope").unwrap_or("x");
        let tokens = scope.split(' ');
        assert!(tokens.into_iter().all(|token| !token.is_empty()));
        assert!(scope.bytes().all(|byte| byte == b' ' || plain(byte)));
        let uri = self.get("error_uri").unwrap_or_default();
        assert!(uri.bytes().all(plain));
    }
}

/// Parses `1#challenge` as a sender must write it (RFC 9110 §5.6.1.1, §11.2, §11.3): no empty list
/// elements, no whitespace around `=`, nothing unquoted that is no token.
pub(crate) fn parse_challenges(text: &str) -> Result<Vec<Challenge>, String> {
    let mut rest = text;
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        let (name, after) = token(rest)?;
        match (after.strip_prefix('='), challenges.last_mut()) {
            (Some(after), Some(challenge)) if challenge.token68.is_none() => {
                rest = parameter(name, after, challenge)?;
            }
            _ => {
                let mut challenge = Challenge {
                    scheme: name.to_owned(),
                    token68: None,
                    parameters: Vec::new(),
                };
                rest = match after.strip_prefix(' ') {
                    None => after,
                    Some(after) => credentials(after.trim_start_matches(' '), &mut challenge)?,
                };
                challenges.push(challenge);
            }
        }
        if rest.is_empty() {
            return Ok(challenges);
        }
        rest = rest
            .strip_prefix(',')
            .ok_or_else(|| format!("no comma before `{rest}`"))?
            .trim_start_matches([' ', '\t']);
    }
}

/// What follows a scheme: a `token68`, or the first parameter.
fn credentials<'a>(text: &'a str, challenge: &mut Challenge) -> Result<&'a str, String> {
    if let Ok((name, after)) = token(text)
        && let Some(value) = after.strip_prefix('=')
        && !value.is_empty()
        && !value.starts_with([',', '='])
    {
        return parameter(name, value, challenge);
    }
    let is_body = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    let body = text.find(|c| !is_body(c)).unwrap_or(text.len());
    let padding = text[body..].find(|c| c != '=').unwrap_or(text.len() - body);
    if body == 0 {
        return Err(format!("neither token68 nor parameter: `{text}`"));
    }
    challenge.token68 = Some(text[..body + padding].to_owned());
    Ok(&text[body + padding..])
}

fn parameter<'a>(name: &str, value: &'a str, challenge: &mut Challenge) -> Result<&'a str, String> {
    // RFC 9110 §11.2: names are compared without case and occur once in a challenge.
    let name = name.to_ascii_lowercase();
    if challenge.parameters.iter().any(|(other, _)| *other == name) {
        return Err(format!("`{name}` twice"));
    }
    let (value, rest) = match value.strip_prefix('"') {
        Some(quoted) => quoted_string(quoted)?,
        None => token(value).map(|(value, rest)| (value.to_owned(), rest))?,
    };
    challenge.parameters.push((name, value));
    Ok(rest)
}

/// RFC 9110 §5.6.4, after the opening quote.
fn quoted_string(text: &str) -> Result<(String, &str), String> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Ok((value, &text[position + 1..])),
            '\\' => match characters.next() {
                Some((_, escaped @ ('\t' | ' '..='~'))) => value.push(escaped),
                other => return Err(format!("bad escape {other:?}")),
            },
            '\t' | ' '..='~' => value.push(character),
            other => return Err(format!("{other:?} in a quoted string")),
        }
    }
    Err("unterminated string".into())
}

/// RFC 9110 §5.6.2.
fn token(text: &str) -> Result<(&str, &str), String> {
    let is_tchar = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_tchar(c)).unwrap_or(text.len());
    match text.split_at(end) {
        ("", rest) => Err(format!("no token at `{rest}`")),
        found => Ok(found),
    }
}
