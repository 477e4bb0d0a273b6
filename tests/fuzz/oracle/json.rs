//! A strict JSON parser (RFC 8259) that keeps duplicate members and the text of numbers.

#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// One value and nothing else.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut parser = Parser { rest: text };
        let value = parser.value(0)?;
        parser.space();
        parser.rest.is_empty().then_some(value)
    }

    pub fn members(&self) -> Option<&[(String, Json)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eat(&mut self, token: &str) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let next = chars.next();
        self.rest = chars.as_str();
        next
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        if depth > 200 {
            return None;
        }
        self.space();
        match self.rest.chars().next()? {
            'n' => self.eat("null").map(|()| Json::Null),
            't' => self.eat("true").map(|()| Json::Bool(true)),
            'f' => self.eat("false").map(|()| Json::Bool(false)),
            '"' => self.string().map(Json::Text),
            '[' => {
                let list = self.series('[', ']', |parser| parser.value(depth + 1))?;
                Some(Json::List(list))
            }
            '{' => {
                let members = self.series('{', '}', |parser| {
                    parser.space();
                    let name = parser.string()?;
                    parser.eat(":")?;
                    Some((name, parser.value(depth + 1)?))
                })?;
                Some(Json::Object(members))
            }
            _ => self.number(),
        }
    }

    fn series<T>(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let mut items = Vec::new();
        self.eat(open.encode_utf8(&mut [0; 4]))?;
        self.space();
        if self.rest.starts_with(close) {
            self.next();
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            match self.next()? {
                ',' => {}
                end if end == close => return Some(items),
                _ => return None,
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        let mut text = String::new();
        if self.next()? != '"' {
            return None;
        }
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(match self.next()? {
                    same @ ('"' | '\\' | '/') => same,
                    'b' => '\u{8}',
                    'f' => '\u{C}',
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => self.escape()?,
                    _ => return None,
                }),
                '\0'..='\u{1F}' => return None,
                plain => text.push(plain),
            }
        }
    }

    /// RFC 8259 §8.2: the grammar allows half a surrogate pair, whatever a reader makes of it.
    fn escape(&mut self) -> Option<char> {
        let first = self.unit()?;
        let mut rest = Parser { rest: self.rest };
        if let Some(second) = rest.eat_escape()
            && let Some(Ok(letter)) = char::decode_utf16([first, second]).next()
            && letter.len_utf16() == 2
        {
            self.rest = rest.rest;
            return Some(letter);
        }
        Some(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn eat_escape(&mut self) -> Option<u16> {
        self.rest = self.rest.strip_prefix("\\u")?;
        self.unit()
    }

    fn unit(&mut self) -> Option<u16> {
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + self.next()?.to_digit(16)?;
        }
        u16::try_from(unit).ok()
    }

    fn number(&mut self) -> Option<Json> {
        let end = self
            .rest
            .find(|letter| !matches!(letter, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(self.rest.len());
        let (number, rest) = self.rest.split_at(end);
        self.rest = rest;
        is_number(number).then(|| Json::Number(number.to_owned()))
    }
}

/// RFC 8259 §6.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}
