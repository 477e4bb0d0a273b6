//! The direction of dependencies: higher rows see lower rows, never the reverse.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rows from the lowest up. In a row, a later group sees the earlier ones; modules of one group
/// do not see each other.
const ROWS: &[&[&[&str]]] = &[
    &[
        &["erased", "error", "stripes", "time", "task"],
        &["secret", "redis_link"],
        &["principal"],
        &["event"],
    ],
    &[&["key"], &["verify"], &["revocation"]],
    &[
        &["layer::extract", "layer::request_body"],
        &["layer::peer", "layer::response"],
        &[
            "layer::confirmations",
            "layer::dpop",
            "layer::middleware",
            "layer::mtls",
            "layer::openapi",
            "layer::resource",
        ],
        &[
            "layer::jwt",
            "layer::role_guard",
            "layer::api_key",
            "layer::rate_limit",
        ],
        &["layer::mcp", "layer::require_https", "layer::socket"],
        &["layer"],
    ],
    &[&["settings"]],
    &[
        &["store::port"],
        &["server::issue"],
        &["server::refresh"],
        &["server::session"],
        &["server::login"],
        &["server::mail"],
        &["server::endpoints"],
        &["server::settings"],
        &["server::auth_server"],
        &["server"],
        &["store"],
    ],
    &[&["axum", "tonic", "warp"]],
    &[&["test_util", "manual", "prelude"]],
];

/// The modules whose children have places of their own.
const DIVIDED: &[&str] = &["layer", "server", "store"];

/// Edges that break the picture, each with its reason. One that is gone must leave this list.
const KNOWN: &[(&str, &str)] = &[
    // Records with values that the issuing side validates: identifiers, hashes, counters of logins.
    ("store::port", "server::login"),
];

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code without comments and without its test module.
fn code(text: &str) -> String {
    let mut kept = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "#[cfg(test)]" {
            // Attributes may stand between; a module in a file of its own ends with a semicolon.
            while lines.peek().is_some_and(|next| next.starts_with("#[")) {
                lines.next();
            }
            match lines.next() {
                Some(next) if next.starts_with("mod ") && next.ends_with('{') => break,
                _ => continue,
            }
        }
        let line = line.split("//").next().unwrap_or_default();
        kept.push(line);
    }
    kept.join("\n")
}

/// The modules that `crate::…` paths name, those in braces included.
fn named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    // What a public macro writes stands in the crate of its user.
    let code = code.replace("$crate::", "");
    for (at, path) in code.match_indices("crate::") {
        // What a macro names is of whoever calls it.
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            None => found.extend(place(rest)),
            Some(list) => found.extend(items(list).iter().flat_map(|item| place(item))),
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

fn first_word(text: &str) -> String {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    text[..end.unwrap_or(text.len())].to_owned()
}

/// The places that a path names; several if it ends with a list.
fn place(path: &str) -> Vec<String> {
    let first = first_word(path);
    let rest = path.trim_start()[first.len()..].strip_prefix("::");
    let (true, Some(rest)) = (DIVIDED.contains(&first.as_str()), rest) else {
        return vec![first];
    };
    let children = match rest.strip_prefix('{') {
        None => vec![first_word(rest)],
        Some(list) => items(list).iter().map(|item| first_word(item)).collect(),
    };
    let places = children.into_iter().filter(|child| !child.is_empty());
    places
        .map(|child| match position(&format!("{first}::{child}")) {
            Some(_) => format!("{first}::{child}"),
            None => first.clone(),
        })
        .collect()
}

/// The items of a list in braces, after the opening one.
fn items(list: &str) -> Vec<String> {
    let mut items = vec![String::new()];
    let mut depth = 0;
    for c in list.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(String::new());
                continue;
            }
            _ => {}
        }
        items.last_mut().unwrap().push(c);
    }
    items
}

fn position(module: &str) -> Option<(usize, usize)> {
    ROWS.iter().enumerate().find_map(|(row, groups)| {
        let group = groups.iter().position(|group| group.contains(&module))?;
        Some((row, group))
    })
}

#[test]
fn dependencies_point_downwards() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    files(&source, &mut paths);
    assert!(paths.len() > 30);

    let mut edges = BTreeMap::<(String, String), Vec<String>>::new();
    for path in paths {
        let relative = path.strip_prefix(&source).unwrap().to_owned();
        let mut parts = relative.iter().map(|part| part.to_str().unwrap());
        let first = parts.next().unwrap().trim_end_matches(".rs");
        let child = parts.next().unwrap_or("mod.rs").trim_end_matches(".rs");
        let nested = format!("{first}::{child}");
        let module = match position(&nested) {
            Some(_) => nested,
            None => first.to_owned(),
        };
        let of_tests = relative
            .iter()
            .any(|part| part == "tests" || part == "tests.rs");
        if module == "lib" || of_tests {
            continue;
        }
        for target in named(&code(&fs::read_to_string(&path).unwrap())) {
            if target != module {
                let files = edges.entry((module.clone(), target)).or_default();
                files.push(relative.display().to_string());
            }
        }
    }
    assert!(
        edges.contains_key(&("layer::jwt".into(), "verify".into())),
        "{edges:?}"
    );

    let mut broken = Vec::new();
    let mut met = BTreeSet::new();
    for ((module, target), files) in &edges {
        let (Some(own), Some(other)) = (position(module), position(target)) else {
            broken.push(format!("{module} or {target} is in no row: {files:?}"));
            continue;
        };
        if other >= own {
            match KNOWN.iter().find(|known| **known == (module, target)) {
                Some(known) => drop(met.insert(*known)),
                None => broken.push(format!("{module} sees {target}: {files:?}")),
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    for known in KNOWN {
        assert!(
            met.contains(known),
            "{known:?} is mended: take it from the list"
        );
    }
}

#[test]
fn the_reader_of_paths_sees_every_form() {
    let text =
        "use crate::{a, b::{c, d::{e}}, f::g, h};\nuse crate::i::j; x(crate::k::l, crate::m)";
    let names: Vec<_> = named(text).into_iter().collect();
    assert_eq!(names, ["a", "b", "f", "h", "i", "k", "m"]);
    let stripped = code(
        "use crate::a; // crate::b\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\n#[x]\nmod tests {\ncrate::c\n}",
    );
    assert_eq!(named(&stripped).into_iter().collect::<Vec<_>>(), ["a"]);
}

/// Files that spawn work which ends by itself and whose panic its owner sees.
const SHORT: &[&str] = &[
    "key/remote/builder.rs",
    "layer/api_key/keys.rs",
    "layer/api_key/lookup.rs",
    "layer/logout/service.rs",
    "server/endpoints/register.rs",
    "server/login/addresses.rs",
    "server/login/take_over.rs",
    "server/login/change.rs",
    "server/login/password/pool.rs",
    "server/login/reset.rs",
    "server/session/guests/link.rs",
    "server/session/guests/pending.rs",
    "server/session/mod.rs",
    "store/batch.rs",
    "task.rs",
    "verify/introspection/flights.rs",
];

#[test]
fn q11_every_long_lived_task_goes_through_the_one_helper() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&source, &mut found);
    let mut spawning = BTreeSet::new();
    for file in found {
        let relative = file.strip_prefix(&source).unwrap().to_str().unwrap();
        let relative = relative.replace('\\', "/");
        if relative.starts_with("test_util/") || relative.starts_with("store/contract/") {
            continue;
        }
        let text = code(&fs::read_to_string(&file).unwrap());
        let calls = text.match_indices("spawn").filter(|(at, _)| {
            let before = text[..*at].trim_end();
            let direct = ["tokio::", "task::spawn_blocking", "thread::", "."];
            let helper = before.ends_with(" task::") || before.ends_with("(task::");
            let helper = helper || before.ends_with("background::");
            let call = text[*at..]
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            let is_call = matches!(call, Some("spawn" | "spawn_blocking" | "spawn_local"));
            is_call && !helper && direct.iter().any(|end| before.ends_with(end))
        });
        if calls.count() > 0 {
            spawning.insert(relative);
        }
    }
    let short: BTreeSet<_> = SHORT.iter().map(|file| (*file).to_owned()).collect();
    assert_eq!(spawning, short);
}
