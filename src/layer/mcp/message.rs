//! The part of a JSON-RPC message that a guard judges.
//!
//! A parser of another language may read an ambiguous message differently: it takes the first or the last
//! of two equal members, or compares their names without case. Such a message is refused. Everything
//! outside the members that a guard reads is only checked for its syntax.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use super::value::{AnyId, AnyText, Id, Skip, Text};

/// A JSON-RPC message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) id: Option<Id<'a>>,
    /// `None` for a response.
    pub(super) method: Option<Cow<'a, str>>,
    /// The tool, prompt, resource or task that the method acts on.
    pub(super) target: Option<Cow<'a, str>>,
    /// The protocol version in `_meta`.
    pub(super) version: Option<Cow<'a, str>>,
}

/// A content that a guard does not read as a message.
#[derive(Debug, thiserror::Error)]
#[error("{problem}")]
pub(super) struct Unreadable {
    /// `true` if the content is not JSON.
    pub(super) is_syntax: bool,
    /// The reason, which repeats nothing of the content.
    problem: String,
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Self {
        let mut problem = error.to_string();
        // These texts repeat the value.
        if problem.starts_with("invalid type") || problem.starts_with("invalid value") {
            let (line, column) = (error.line(), error.column());
            problem = format!("a value of the wrong type at line {line} column {column}");
        }
        Self {
            is_syntax: error.classify() != Category::Data,
            problem,
        }
    }
}

/// The kind of thing that a method acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tool,
    Prompt,
    Resource,
    Task,
}

impl Target {
    /// Returns the kind of thing that a method acts on, if it acts on one.
    #[inline]
    pub(super) fn of(method: &[u8]) -> Option<Self> {
        const METHODS: [(&[u8], Target); 9] = [
            (b"tools/call", Target::Tool),
            (b"prompts/get", Target::Prompt),
            (b"resources/read", Target::Resource),
            (b"resources/subscribe", Target::Resource),
            (b"resources/unsubscribe", Target::Resource),
            (b"tasks/get", Target::Task),
            (b"tasks/update", Target::Task),
            (b"tasks/cancel", Target::Task),
            (b"tasks/result", Target::Task),
        ];
        let found = METHODS.iter().find(|(name, _)| *name == method);
        found.map(|(_, target)| *target)
    }

    /// Returns the member of `params` that names the thing.
    fn member(self) -> Member {
        match self {
            Self::Tool | Self::Prompt => Member::Name,
            Self::Resource => Member::Uri,
            Self::Task => Member::TaskId,
        }
    }
}

/// Reads one message, or a batch of at least one.
pub(super) fn read(content: &[u8]) -> Result<Vec<Message<'_>>, Unreadable> {
    let text = str::from_utf8(content).map_err(|error| Unreadable {
        is_syntax: true,
        problem: error.to_string(),
    })?;
    let Messages(messages) = serde_json::from_str(text)?;
    Ok(messages)
}

/// Returns `true` if two names are equal for a parser that compares them without case. Such a parser
/// folds two letters outside ASCII to ASCII letters.
pub(super) fn is_other_spelling(text: &str, name: &str) -> bool {
    let folded = |letter: char| match letter {
        '\u{017F}' => 's',
        '\u{212A}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    text != name && text.chars().map(folded).eq(name.chars().map(folded))
}

struct Messages<'a>(Vec<Message<'a>>);

impl<'de> Deserialize<'de> for Messages<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;

        impl<'de> Visitor<'de> for Whole {
            type Value = Messages<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC message or a batch")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Ok(Messages(vec![message(map)?]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(Single(message)) = items.next_element()? {
                    messages.push(message);
                }
                match messages.is_empty() {
                    true => Err(A::Error::custom("an empty batch")),
                    false => Ok(Messages(messages)),
                }
            }
        }

        deserializer.deserialize_any(Whole)
    }
}

struct Single<'a>(Message<'a>);

impl<'de> Deserialize<'de> for Single<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;

        impl<'de> Visitor<'de> for One {
            type Value = Single<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON-RPC message")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                message(map).map(Single)
            }
        }

        deserializer.deserialize_map(One)
    }
}

/// The members of a message, and those of `params` and `_meta` that a guard reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Member {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    Name,
    Uri,
    TaskId,
    Meta,
    Version,
}

const OF_MESSAGE: &[Member] = &[
    Member::Jsonrpc,
    Member::Id,
    Member::Method,
    Member::Params,
    Member::Result,
    Member::Error,
];
const OF_PARAMS: &[Member] = &[Member::Name, Member::Uri, Member::TaskId, Member::Meta];
const OF_META: &[Member] = &[Member::Version];

impl Member {
    fn name(self) -> &'static str {
        match self {
            Self::Jsonrpc => "jsonrpc",
            Self::Id => "id",
            Self::Method => "method",
            Self::Params => "params",
            Self::Result => "result",
            Self::Error => "error",
            Self::Name => "name",
            Self::Uri => "uri",
            Self::TaskId => "taskId",
            Self::Meta => "_meta",
            Self::Version => "io.modelcontextprotocol/protocolVersion",
        }
    }
}

/// The members of one object so far.
struct Seen {
    known: &'static [Member],
    seen: Vec<Member>,
    /// A member whose name has another spelling.
    misspelt: Option<Member>,
}

impl Seen {
    fn new(known: &'static [Member]) -> Self {
        Self {
            known,
            seen: Vec::new(),
            misspelt: None,
        }
    }

    /// Returns the member of this name, if a guard reads it.
    fn note<E: Error>(&mut self, name: &str) -> Result<Option<Member>, E> {
        let found = self.known.iter().find(|member| member.name() == name);
        let Some(&member) = found else {
            let is_similar = |member: &&Member| is_other_spelling(name, member.name());
            self.misspelt = self
                .misspelt
                .or(self.known.iter().find(is_similar).copied());
            return Ok(None);
        };
        if self.seen.contains(&member) {
            return Err(E::custom(format_args!(
                "the member `{}` occurs twice",
                member.name()
            )));
        }
        self.seen.push(member);
        Ok(Some(member))
    }

    fn has(&self, member: Member) -> bool {
        self.seen.contains(&member)
    }
}

fn misspelt<E: Error>(member: Member) -> E {
    E::custom(format_args!(
        "a member is `{}` in another spelling",
        member.name()
    ))
}

fn message<'de, A: MapAccess<'de>>(mut map: A) -> Result<Message<'de>, A::Error> {
    let mut seen = Seen::new(OF_MESSAGE);
    let mut message = Message::default();
    let mut params = Params::default();
    while let Some(Text(name)) = map.next_key()? {
        match seen.note(&name)? {
            Some(Member::Jsonrpc) => {
                let Text(version) = map.next_value()?;
                if version != "2.0" {
                    return Err(A::Error::custom("`jsonrpc` is not \"2.0\""));
                }
            }
            Some(Member::Id) => message.id = map.next_value::<AnyId<'_>>()?.0,
            Some(Member::Method) => message.method = Some(map.next_value::<Text<'_>>()?.0),
            Some(Member::Params) => params = map.next_value()?,
            _ => {
                let Skip = map.next_value()?;
            }
        }
    }
    if let Some(member) = seen.misspelt {
        return Err(misspelt(member));
    }
    if !seen.has(Member::Jsonrpc) {
        return Err(A::Error::missing_field("jsonrpc"));
    }
    let Some(method) = message.method.as_deref() else {
        return match seen.has(Member::Result) || seen.has(Member::Error) {
            true => Ok(message),
            false => Err(A::Error::missing_field("method")),
        };
    };
    if seen.has(Member::Result) || seen.has(Member::Error) {
        return Err(A::Error::custom("both a request and a response"));
    }
    message.target = match Target::of(method.as_bytes()) {
        Some(target) => Some(params.take(target.member())?),
        None => None,
    };
    message.version = params.version;
    Ok(message)
}

/// The members of `params` that a guard reads.
#[derive(Default)]
struct Params<'a> {
    name: Option<Text<'a>>,
    uri: Option<Text<'a>>,
    task_id: Option<Text<'a>>,
    version: Option<Cow<'a, str>>,
    misspelt: Vec<Member>,
}

impl<'a> Params<'a> {
    /// Returns the value of a member that the method needs.
    fn take<E: Error>(&mut self, member: Member) -> Result<Cow<'a, str>, E> {
        if self.misspelt.contains(&member) {
            return Err(misspelt(member));
        }
        let value = match member {
            Member::Name => self.name.take(),
            Member::Uri => self.uri.take(),
            _ => self.task_id.take(),
        };
        match value {
            Some(Text(value)) => Ok(value),
            None => Err(E::custom(format_args!(
                "`params` has no text `{}`",
                member.name()
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for Params<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Named;

        impl<'de> Visitor<'de> for Named {
            type Value = Params<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("parameters")
            }

            fn visit_unit<E: Error>(self) -> Result<Params<'de>, E> {
                Ok(Params::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Params<'de>, A::Error> {
                while items.next_element::<Skip>()?.is_some() {}
                Ok(Params::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Params<'de>, A::Error> {
                let mut seen = Seen::new(OF_PARAMS);
                let mut params = Params::default();
                while let Some(Text(name)) = map.next_key()? {
                    match seen.note(&name)? {
                        Some(Member::Name) => params.name = map.next_value::<AnyText<'_>>()?.0,
                        Some(Member::Uri) => params.uri = map.next_value::<AnyText<'_>>()?.0,
                        Some(Member::TaskId) => params.task_id = map.next_value::<AnyText<'_>>()?.0,
                        Some(Member::Meta) => params.version = map.next_value::<Meta<'_>>()?.0,
                        _ => {
                            let Skip = map.next_value()?;
                        }
                    }
                    // Only the method, which may come later, decides which of them matter.
                    params.misspelt.extend(seen.misspelt.take());
                }
                match params.misspelt.contains(&Member::Meta) {
                    true => Err(misspelt(Member::Meta)),
                    false => Ok(params),
                }
            }
        }

        deserializer.deserialize_any(Named)
    }
}

/// The protocol version in `_meta`.
struct Meta<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Meta<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Version;

        impl<'de> Visitor<'de> for Version {
            type Value = Meta<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("metadata")
            }

            fn visit_unit<E: Error>(self) -> Result<Meta<'de>, E> {
                Ok(Meta(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta<'de>, A::Error> {
                let mut seen = Seen::new(OF_META);
                let mut version = None;
                while let Some(Text(name)) = map.next_key()? {
                    match seen.note(&name)? {
                        Some(_) => version = Some(map.next_value::<Text<'_>>()?.0),
                        None => {
                            let Skip = map.next_value()?;
                        }
                    }
                }
                match seen.misspelt {
                    Some(member) => Err(misspelt(member)),
                    None => Ok(Meta(version)),
                }
            }
        }

        deserializer.deserialize_any(Version)
    }
}
