//! The lines that an application needs for what a builder adds.

const AUTH_SERVER: &str = include_str!("../../../examples/auth_server/main.rs");

/// The lines of code that contain one of these words.
fn lines_with(words: &[&str]) -> Vec<&'static str> {
    let lines = AUTH_SERVER.lines().map(str::trim);
    let code = lines.filter(|line| !line.starts_with("//"));
    code.filter(|line| words.iter().any(|word| line.contains(word)))
        .collect()
}

#[test]
fn mails_take_six_lines_and_totp_takes_one() {
    let mut mails = lines_with(&["mail", "(post)", "let post"]);
    // Names of users.
    mails.retain(|line| !line.contains("email"));
    assert!(mails.iter().any(|line| line.contains(".mailer(post)")));
    // And the brace that ends the condition.
    assert!(mails.len() < 6, "{mails:#?}");
    assert_eq!(lines_with(&[".totp("]).len(), 1);
}
