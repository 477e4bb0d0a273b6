//! The rules of the manual and the tests that prove them, checked in both directions.
//!
//! The name of a proof starts with one or more ids: `a8_two_…`, `b2_b3_b4_…`. Every function with such a name
//! counts, with or without a test attribute, because the contracts of the stores are plain functions that the tests of each
//! store call. A private function that lost its attribute and its callers fails the build as dead code; a public
//! contract that no test calls any more is not noticed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// A letter and a number, ordered as in the manual: A2 before A10.
type Id = (char, u32);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn id(text: &str) -> Option<Id> {
    let letter = text.chars().next().filter(char::is_ascii_alphabetic)?;
    let digits = &text[1..];
    let number = digits.parse().ok()?;
    (digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
        .then_some((letter.to_ascii_uppercase(), number))
}

fn name((letter, number): Id) -> String {
    format!("{letter}{number}")
}

/// The first cell of each row of the chapter's tables that is an id.
fn rules() -> BTreeSet<Id> {
    let chapter = fs::read_to_string(root().join("src/manual/rules.md")).unwrap();
    let mut found = BTreeSet::new();
    let cells = chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    for rule in cells.filter_map(id) {
        assert!(found.insert(rule), "{} has two rows", name(rule));
    }
    found
}

/// The function that a line of source declares.
fn declared(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let modifier = |word: &str| word == "async" || word == "const" || word.starts_with("pub");
    before.split_whitespace().all(modifier).then_some(())?;
    rest.split(['(', '<']).next()
}

/// The ids at the start of a function's name, each of which ends with an underscore.
fn ids(function: &str) -> impl Iterator<Item = Id> {
    let words = function.split_inclusive('_');
    words.map_while(|word| id(word.strip_suffix('_')?))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            // A separate package below `tests` may have been built in place.
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|suffix| suffix == "rs") {
            found.push(path);
        }
    }
}

/// Each id in the name of a test, with one of these tests.
fn proved() -> BTreeMap<Id, String> {
    let mut files = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    files.sort();
    let mut proved = BTreeMap::new();
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        for function in source.lines().filter_map(declared) {
            for id in ids(function) {
                let place = path.strip_prefix(root()).unwrap().display();
                proved
                    .entry(id)
                    .or_insert_with(|| format!("{function} in {place}"));
            }
        }
    }
    proved
}

#[test]
fn every_rule_of_the_manual_has_a_test() {
    let proved = proved();
    let unproved: Vec<_> = rules()
        .into_iter()
        .filter(|rule| !proved.contains_key(rule))
        .map(name)
        .collect();
    assert!(
        unproved.is_empty(),
        "rules of src/manual/rules.md that no test is named after: {}",
        unproved.join(", ")
    );
}

#[test]
fn every_id_of_a_test_is_a_rule_of_the_manual() {
    let rules = rules();
    let unknown: Vec<_> = proved()
        .into_iter()
        .filter(|(id, _)| !rules.contains(id))
        .map(|(id, test)| format!("{}: {test}", name(id)))
        .collect();
    assert!(
        unknown.is_empty(),
        "ids of tests without a row in src/manual/rules.md:\n{}",
        unknown.join("\n")
    );
}

#[test]
fn ids_are_read_from_names() {
    let read = |line| {
        declared(line)
            .into_iter()
            .flat_map(ids)
            .map(name)
            .collect::<Vec<_>>()
    };
    assert_eq!(read("async fn a8_two_headers() {"), ["A8"]);
    assert_eq!(read("    pub async fn t10_one<F>(f: &F)"), ["T10"]);
    assert_eq!(read("fn b2_b3_every_challenge() {"), ["B2", "B3"]);
    assert!(read("fn x5t_s256(&self)").is_empty());
    assert!(read("// a fn a8_in_a_comment()").is_empty());
    assert!(read("fn a8()").is_empty());
}
