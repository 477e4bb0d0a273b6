//! The page of figures, which alone names the commit of each.

use std::{
    fs,
    path::{Path, PathBuf},
};

#[test]
fn only_the_page_of_figures_names_commits() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    chapters(&root.join("src/manual"), &mut pages);
    assert!(pages.len() > 20, "{pages:?}");
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        let named: Vec<_> = commits(&text).collect();
        assert!(
            named.is_empty(),
            "{}: move {named:?} to benches/README.md, which has a row for each figure",
            page.display()
        );
    }
    let figures = fs::read_to_string(root.join("benches/README.md")).unwrap();
    let rows = figures.lines().filter(|line| line.starts_with("| "));
    for row in rows.skip(1) {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next();
        assert!(last.is_some_and(is_commit), "no commit: {row}");
    }
}

/// The words after "commit" that are the start of a hash.
fn commits(text: &str) -> impl Iterator<Item = &str> {
    let after = text.split("commit").skip(1);
    let words = after.filter_map(|rest| rest.split_whitespace().next());
    words
        .map(|word| word.trim_matches(|one: char| !one.is_ascii_alphanumeric()))
        .filter(|word| is_commit(word))
}

fn is_commit(word: &str) -> bool {
    word.len() >= 7
        && word.bytes().all(|byte| byte.is_ascii_hexdigit())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

fn chapters(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            chapters(&path, found);
        } else if path.extension().is_some_and(|end| end == "md") {
            found.push(path);
        }
    }
}
