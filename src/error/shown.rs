//! Values from outside, in a form for logs.

/// Returns a value in the form in which a log shows it: escaped, and cut at 128 bytes.
pub(crate) fn shown(value: &str) -> String {
    let mut shown = String::new();
    for one in value.chars() {
        let escaped = one.escape_debug();
        if shown.len() + escaped.clone().map(char::len_utf8).sum::<usize>() > LONGEST {
            shown.push('…');
            break;
        }
        shown.extend(escaped);
    }
    shown
}

const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn q20_a_value_is_escaped_and_cut() {
        assert_eq!(shown("https://as.example/ä"), "https://as.example/ä");
        assert_eq!(shown("a\nb\u{202e}\"\0"), "a\\nb\\u{202e}\\\"\\0");
        let cut = shown(&"x".repeat(1000));
        assert_eq!(cut, format!("{}…", "x".repeat(128)));
        // No escape is cut in the middle.
        let cut = shown(&format!("{}\n", "x".repeat(127)));
        assert_eq!(cut, format!("{}…", "x".repeat(127)));
    }
}
